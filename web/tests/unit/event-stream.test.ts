// SPDX-License-Identifier: Apache-2.0
// Goal: after a restart of the daemon the page reconnects, says where it was, and doubles nothing. Method: a double of EventSource.
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { EventStream, type PlimsollEvent } from '../../src/lib/event-stream'

class Double extends EventTarget {
  readyState = 1
  constructor(readonly url: string) { super() }
  close(): void { this.readyState = 2 }
  say(id: string, data: string): void { this.dispatchEvent(new MessageEvent('job', { data, lastEventId: id })) }
}
let opened: Double[]
let events: PlimsollEvent[]
let stream: EventStream
const last = (): Double => { const one = opened.at(-1); if (!one) throw new Error('nothing was opened'); return one }

beforeEach(() => {
  vi.useFakeTimers()
  opened = []
  events = []
  stream = new EventStream({
    url: '/api/events', types: ['job'], onEvent: (event) => { events.push(event) }, onConnection: () => undefined,
    open: (url) => { const one = new Double(url); opened.push(one); return one as unknown as EventSource },
  })
})
afterEach(() => { stream.close(); vi.useRealTimers() })

test('an event that is sent again after a reconnect is delivered once', () => {
  last().say('7', '{"jobId":"a"}')
  last().readyState = 2
  last().dispatchEvent(new Event('error'))
  vi.advanceTimersByTime(600)
  expect(opened).toHaveLength(2)
  expect(last().url).toBe('/api/events?lastEventId=7')
  last().say('7', '{"jobId":"a"}')
  last().say('8', '{"jobId":"a"}')
  expect(events.map((event) => event.id)).toEqual(['7', '8'])
})
test('half a line is dropped and the next event still arrives', () => {
  last().say('1', '{"jobId')
  last().say('2', '{"jobId":"a"}')
  expect(events.map((event) => event.id)).toEqual(['2'])
})
test('a closed stream opens nothing more', () => {
  stream.close()
  last().dispatchEvent(new Event('error'))
  vi.advanceTimersByTime(60_000)
  expect(opened).toHaveLength(1)
})
