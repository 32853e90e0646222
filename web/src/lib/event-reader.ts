// SPDX-License-Identifier: Apache-2.0
//
// The daemon's events for programs that have fetch but no EventSource (Node), or need a token in a header:
//
//   for await (const event of readEvents({ baseUrl, signal }))
//     if (event.type === 'job') console.log(event.data.state, event.data.progress)
//
// It goes on where it was when the connection breaks, with a growing pause, until the signal stops it; an event is told once. What
// the daemon refuses (a wrong token) is thrown. For pages there is EventStream (event-stream.ts).
import { errorOf, PlimsollError, type ClientOptions } from './resource-manager'
import type { ForecastEvent, HeldJob, Job, Telemetry, WarningEvent } from './types'

/** Each type with its data, as docs/openapi.yaml describes them. `id` is what `lastEventId` takes. */
export type DaemonEvent =
  | { id: string; type: 'telemetry'; data: Telemetry }
  | { id: string; type: 'job'; data: Job }
  | { id: string; type: 'held'; data: HeldJob }
  | { id: string; type: 'forecast'; data: ForecastEvent }
  | { id: string; type: 'warning'; data: WarningEvent }
  | { id: string; type: 'reset'; data: { reason: string } }

export interface ReadEventsOptions extends ClientOptions {
  /** Where to go on; without it the stream begins with what there is now. */
  lastEventId?: string
  signal?: AbortSignal
}

const kFirstPauseMs = 500
const kLongestPauseMs = 8_000
const kEventCharsMax = 4 * 1024 * 1024 // chosen: a forecast has 20,000
const kTypes = new Set(['telemetry', 'job', 'held', 'forecast', 'warning', 'reset'])

interface RawEvent { id: string; type: string; data: string }

/** Whole events out of pieces of text (HTML Standard, section 9.2). */
export class EventParser {
  private rest = ''
  private id = ''
  private type = ''
  private data: string[] = []
  private size = 0

  feed(text: string): RawEvent[] {
    // A '\r' at the end may be half of a line's end: it waits for the next piece.
    const lines = (this.rest + text).split(/\r\n|\n|\r(?!$)/)
    this.rest = lines.pop() ?? ''
    const events: RawEvent[] = []
    for (const line of lines) {
      if (line !== '') {
        this.take(line)
        continue
      }
      if (this.data.length > 0) events.push({ id: this.id, type: this.type || 'message', data: this.data.join('\n') })
      this.data = []
      this.type = ''
      this.size = 0
    }
    if (this.size + this.rest.length > kEventCharsMax) throw new PlimsollError('limit_exceeded', 'an event is larger than allowed', 0)
    return events
  }

  private take(line: string): void {
    const colon = line.indexOf(':')
    const field = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '')
    if (field === 'data') {
      this.data.push(value)
      this.size += value.length
    } else if (field === 'event') {
      this.type = value
    } else if (field === 'id') {
      this.id = value
    }
  }
}

function eventOf(raw: RawEvent): DaemonEvent | null {
  if (!kTypes.has(raw.type)) return null // of a newer daemon
  try {
    // The contract is held by the daemon's own tests.
    return { id: raw.id, type: raw.type, data: JSON.parse(raw.data) as unknown } as DaemonEvent
  } catch {
    return null // half a line of a dying daemon
  }
}

function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((done) => {
    const end = (): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', end)
      done()
    }
    const timer = setTimeout(end, ms)
    signal?.addEventListener('abort', end)
    if (signal?.aborted) end()
  })
}

/** Ends when the signal aborts; throws PlimsollError for what the daemon refuses. */
export async function* readEvents(options: ReadEventsOptions = {}): AsyncGenerator<DaemonEvent, void, undefined> {
  const { signal, token } = options
  const url = `${(options.baseUrl ?? '').replace(/\/$/, '')}/api/events`
  let lastId = options.lastEventId ?? ''
  let pauseMs = kFirstPauseMs
  while (!signal?.aborted) {
    const headers: Record<string, string> = { accept: 'text/event-stream' }
    if (token) headers['authorization'] = `Bearer ${token}`
    if (lastId) headers['last-event-id'] = lastId
    // The connection ends with whoever stops asking, also without a signal.
    const stop = new AbortController()
    const abort = (): void => { stop.abort(signal?.reason) }
    signal?.addEventListener('abort', abort)
    try {
      const answer = await fetch(url, { headers, signal: stop.signal })
      if (answer.status >= 400 && answer.status < 500 && answer.status !== 429) throw errorOf(answer.status, await answer.text())
      if (answer.ok && answer.body) {
        const reader = answer.body.getReader()
        const decoder = new TextDecoder()
        const parser = new EventParser()
        for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
          pauseMs = kFirstPauseMs
          for (const raw of parser.feed(decoder.decode(piece.value, { stream: true }))) {
            lastId = raw.id
            const event = eventOf(raw)
            if (event) yield event
          }
        }
      }
    } catch (error) {
      if (error instanceof PlimsollError) throw error
      if (signal?.aborted) return
    } finally {
      signal?.removeEventListener('abort', abort)
      stop.abort()
    }
    await pause(pauseMs, signal)
    pauseMs = Math.min(pauseMs * 2, kLongestPauseMs)
  }
}
