// SPDX-License-Identifier: Apache-2.0
//
// Server-sent events that survive a restart of the daemon. The browser's EventSource reconnects by itself and sends
// Last-Event-ID; it gives up for good on an HTTP error (a daemon that starts, a proxy without one), so that is repeated here
// with a growing pause. An event whose id was seen is not delivered again.
export type Connection = 'connecting' | 'open' | 'lost'
export interface PlimsollEvent { id: string; type: string; value: unknown }

const kFirstPauseMs = 500
const kLongestPauseMs = 8_000
const kRememberedIds = 512

export interface EventStreamOptions {
  url: string
  types: readonly string[]
  onEvent: (event: PlimsollEvent) => void
  onConnection: (state: Connection) => void
  open?: (url: string) => EventSource // tests put a double here
}

export class EventStream {
  private source: EventSource | null = null
  private timer: ReturnType<typeof setTimeout> | null = null
  private pauseMs = kFirstPauseMs
  private closed = false
  private lastId = ''
  private readonly seen = new Set<string>()

  constructor(private readonly options: EventStreamOptions) {
    this.connect()
  }

  close(): void {
    this.closed = true
    if (this.timer) clearTimeout(this.timer)
    this.source?.close()
  }

  private connect(): void {
    this.options.onConnection('connecting')
    const mark = this.lastId ? `${this.options.url.includes('?') ? '&' : '?'}lastEventId=${encodeURIComponent(this.lastId)}` : ''
    const open = this.options.open ?? ((url: string) => new EventSource(url))
    const source = open(this.options.url + mark)
    this.source = source
    source.addEventListener('open', () => {
      this.pauseMs = kFirstPauseMs
      this.options.onConnection('open')
    })
    source.addEventListener('error', () => {
      this.options.onConnection('lost')
      if (source.readyState !== 2 || this.closed) return // 2: closed for good; else the browser tries again
      source.close()
      this.timer = setTimeout(() => { this.connect() }, this.pauseMs)
      this.pauseMs = Math.min(this.pauseMs * 2, kLongestPauseMs)
    })
    for (const type of this.options.types)
      source.addEventListener(type, (message: MessageEvent<string>) => { this.take(type, message) })
  }

  private take(type: string, message: MessageEvent<string>): void {
    const id = message.lastEventId
    if (id) {
      if (this.seen.has(id)) return
      this.seen.add(id)
      this.lastId = id
      const oldest = this.seen.values().next().value
      if (this.seen.size > kRememberedIds && oldest !== undefined) this.seen.delete(oldest)
    }
    let value: unknown
    try {
      value = JSON.parse(message.data)
    } catch {
      return // half a line of a dying daemon; the next event carries the whole state
    }
    this.options.onEvent({ id, type, value })
  }
}
