// SPDX-License-Identifier: Apache-2.0
// Goal: events come out whole whatever the pieces, and a reader comes back where it was. Method: the parser fed in pieces; a double of fetch.
import { afterEach, expect, test, vi } from 'vitest'
import { EventParser, readEvents } from '../../src/lib/event-reader'

afterEach(() => { vi.unstubAllGlobals() })

test.each(['\n', '\r\n', '\r'])('the same events in pieces of any size, lines ending with %j', (end) => {
  const text = ': hello|id: a-1|event: job|data: {"x":1}||data: one|data:two||id: a-2|event: empty||data: cut'.replaceAll('|', end)
  for (const size of [1, 2, 7, 1000]) {
    const parser = new EventParser()
    const events = []
    for (let at = 0; at < text.length; at += size) events.push(...parser.feed(text.slice(at, at + size)))
    expect(events).toEqual([{ id: 'a-1', type: 'job', data: '{"x":1}' }, { id: 'a-1', type: 'message', data: 'one\ntwo' }])
  }
})
test('an event without end is refused', () => {
  const parser = new EventParser()
  const piece = `data: ${'x'.repeat(1 << 20)}\n`
  expect(() => { for (let i = 0; i < 6; i++) parser.feed(piece) }).toThrow('larger than allowed')
})
test('after a break it asks with the last id, and tells nothing twice', async () => {
  vi.useFakeTimers()
  const asked: (string | undefined)[] = []
  vi.stubGlobal('fetch', (_url: string, init: { headers: Record<string, string> }) => {
    asked.push(init.headers['last-event-id'])
    return Promise.resolve(new Response(`id: e-${asked.length}\nevent: job\ndata: {"jobId":"${asked.length}"}\n\n`))
  })
  const events = readEvents({ baseUrl: 'http://x' })
  expect(await events.next()).toMatchObject({ value: { id: 'e-1' } })
  const second = events.next()
  await vi.advanceTimersByTimeAsync(600)
  expect(await second).toMatchObject({ value: { id: 'e-2' } })
  await events.return()
  expect(asked).toEqual([undefined, 'e-1'])
  vi.useRealTimers()
})
