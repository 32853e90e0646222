// SPDX-License-Identifier: Apache-2.0
// Goal: the caller gets the daemon's own code and message, and can stop waiting. Method: a double of fetch.
import { afterEach, expect, test, vi } from 'vitest'
import { PlimsollError, ResourceManager } from '../../src/lib/resource-manager'

afterEach(() => { vi.unstubAllGlobals() })
const answering = (status: number, body: string): void => { vi.stubGlobal('fetch', () => Promise.resolve(new Response(body, { status }))) }

test('an error carries the code and the message of the daemon', async () => {
  answering(404, '{"error":{"code":"not_found","message":"no preset named x","details":null}}')
  await expect(new ResourceManager().removePreset('x')).rejects.toMatchObject({ code: 'not_found', message: 'no preset named x', status: 404 })
})
test('an answer that is not JSON is an error, not undefined', async () => {
  answering(200, '<html>')
  await expect(new ResourceManager().health()).rejects.toBeInstanceOf(PlimsollError)
})
test('an aborted call rejects as aborted', async () => {
  vi.stubGlobal('fetch', (_url: string, init: RequestInit) => new Promise((_done, fail) => {
    if (init.signal?.aborted) fail(init.signal.reason as Error)
    init.signal?.addEventListener('abort', () => { fail(init.signal?.reason as Error) })
  }))
  const stop = new AbortController()
  const call = new ResourceManager().forecast({ model: 'sdxl-base' }, stop.signal)
  stop.abort()
  await expect(call).rejects.toMatchObject({ name: 'AbortError' })
})
