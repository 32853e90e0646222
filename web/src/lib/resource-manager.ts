// SPDX-License-Identifier: Apache-2.0
//
// The TypeScript client of Plimsoll. Also built as the npm package `plimsoll-client`; it depends on nothing but fetch.
//
//   const plimsoll = new ResourceManager({ baseUrl: 'http://127.0.0.1:8190' })
//   const settings = await plimsoll.calculateOptimalSettings({ width: 1024, height: 1024, model: 'sdxl-base' })
//   const safety = await plimsoll.isSettingsSafe(settings)
//
// Every call takes an AbortSignal last, resolves with the daemon's answer, and rejects with PlimsollError, which carries the
// daemon's own code and message. Nothing is retried silently: the caller decides.
import type {
  CardEntry, Checkup, Comparison, Device, ErrorBody, ExportQuery, Forecast, ForecastRequest, Gateway, GenerateRequest, Health, HeldJob, HeldJobChange, HistoryPage, HistoryQuery, Job,
  JobDetail, Largest, LargestRequest, Models, Optimal, OptimalRequest, Phrase, Plan, PlanRequest, Preset, PresetSettings, QualityScore, ResourceSummary,
  Run, Safety, Settings, SettingsRequest, Stats, StatsQuery, Trends, TrendsQuery,
} from './types'

export * from './types'

export interface ClientOptions {
  baseUrl?: string // without a trailing slash; '' is the page's own origin
  token?: string // PLIMSOLL_TOKEN of a daemon that binds elsewhere than loopback
  timeoutMs?: number // per call
}

const kTimeoutMs = 15_000 // chosen: a forecast takes milliseconds, the slowest call (doctor) waits for ComfyUI at most 5 s

export class PlimsollError extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly status: number,
    readonly details: unknown = null,
    /** The message as a code with its values, to be worded in another language; null: the words are somebody else's. */
    readonly phrase: Phrase | null = null,
  ) {
    super(message)
    this.name = 'PlimsollError'
  }
}

// What the client itself finds out.
function ours(code: string, phraseCode: string, message: string, status: number, details: unknown = null): PlimsollError {
  return new PlimsollError(code, message, status, details, { code: phraseCode, params: {}, message })
}

function isErrorBody(value: unknown): value is ErrorBody {
  if (typeof value !== 'object' || value === null || !('error' in value)) return false
  const error = value.error
  return typeof error === 'object' && error !== null && 'code' in error && 'message' in error
}

function errorFrom(status: number, value: unknown): PlimsollError {
  if (isErrorBody(value)) return new PlimsollError(value.error.code, value.error.message, status, value.error.details, value.error.details?.phrase ?? null)
  return ours('internal', 'client.no_reason', `the daemon answered ${status} without a reason`, status)
}

// What the daemon said with a status of 400 and above.
export function errorOf(status: number, body: string): PlimsollError {
  try {
    return errorFrom(status, JSON.parse(body))
  } catch {
    return errorFrom(status, null)
  }
}

function queryOf(values: Record<string, string | number | undefined>): string {
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(values)) if (value !== undefined && value !== '') query.set(name, String(value))
  const text = query.toString()
  return text ? `?${text}` : ''
}

export class ResourceManager {
  private readonly baseUrl: string
  private readonly token: string
  private readonly timeoutMs: number

  constructor(options: ClientOptions = {}) {
    this.baseUrl = (options.baseUrl ?? '').replace(/\/$/, '')
    this.token = options.token ?? ''
    this.timeoutMs = options.timeoutMs ?? kTimeoutMs
  }

  /** The settings of the asked size and quality that stay under the load line. */
  async calculateOptimalSettings(wanted: OptimalRequest, signal?: AbortSignal): Promise<Settings> {
    return (await this.post<Optimal>('/api/settings/optimal', wanted, signal)).settings
  }
  isSettingsSafe(settings: SettingsRequest, signal?: AbortSignal): Promise<Safety> {
    return this.post('/api/settings/check', settings, signal)
  }
  getResourceSummary(settings: SettingsRequest, signal?: AbortSignal): Promise<ResourceSummary> {
    return this.post('/api/settings/summary', settings, signal)
  }
  /** How good a picture these settings make: measured by a quality test, or an estimate that says so. */
  getQualityScore(settings: SettingsRequest, signal?: AbortSignal): Promise<QualityScore> {
    return this.post('/api/settings/score', settings, signal)
  }
  /** What worked best so far, from the history; null when no run says. */
  async getBestSettings(model: string, minQuality?: number, signal?: AbortSignal): Promise<Settings | null> {
    return (await this.get<{ settings: Settings | null }>(`/api/settings/best${queryOf({ model, minQuality })}`, signal)).settings
  }
  /** Starts a job and answers at once; its progress arrives as events and at job(). */
  generateWithComfyUI(request: GenerateRequest, signal?: AbortSignal): Promise<Job> {
    return this.post('/api/generate', request, signal)
  }

  forecast(request: ForecastRequest, signal?: AbortSignal): Promise<Forecast> { return this.post('/api/forecast', request, signal) }
  plan(request: PlanRequest, signal?: AbortSignal): Promise<Plan> { return this.post('/api/plan', request, signal) }
  largest(request: LargestRequest, signal?: AbortSignal): Promise<Largest> {
    return this.post('/api/largest', request, signal)
  }

  health(signal?: AbortSignal): Promise<Health> { return this.get('/api/health', signal) }
  async devices(signal?: AbortSignal): Promise<Device[]> {
    return (await this.get<{ devices: Device[] }>('/api/devices', signal)).devices
  }
  models(signal?: AbortSignal): Promise<Models> { return this.get('/api/models', signal) }
  async cards(signal?: AbortSignal): Promise<CardEntry[]> {
    return (await this.get<{ cards: CardEntry[] }>('/api/cards', signal)).cards
  }
  async jobs(signal?: AbortSignal): Promise<Job[]> { return (await this.get<{ jobs: Job[] }>('/api/jobs', signal)).jobs }
  job(jobId: string, signal?: AbortSignal): Promise<JobDetail> { return this.get(`/api/jobs/${encodeURIComponent(jobId)}`, signal) }
  async cancelJob(jobId: string, signal?: AbortSignal): Promise<void> {
    await this.call('DELETE', `/api/jobs/${encodeURIComponent(jobId)}`, undefined, signal)
  }
  /** The gateway: its policy, whether it is paused, the card's heat, and the prompts that came through it. */
  gateway(signal?: AbortSignal): Promise<Gateway> { return this.get('/api/gateway', signal) }
  pauseGateway(signal?: AbortSignal): Promise<Gateway> { return this.call('POST', '/api/gateway/pause', undefined, signal) }
  resumeGateway(signal?: AbortSignal): Promise<Gateway> { return this.call('POST', '/api/gateway/resume', undefined, signal) }
  heldJob(promptId: string, signal?: AbortSignal): Promise<HeldJob> { return this.get(`/api/gateway/jobs/${encodeURIComponent(promptId)}`, signal) }
  changeHeldJob(promptId: string, change: HeldJobChange, signal?: AbortSignal): Promise<HeldJob> {
    return this.call('PATCH', `/api/gateway/jobs/${encodeURIComponent(promptId)}`, change, signal)
  }
  /** Its user takes the risk: what was refused goes as it came, what heat, room or a pause holds back goes next. */
  runHeldJobAnyway(promptId: string, signal?: AbortSignal): Promise<HeldJob> {
    return this.call('POST', `/api/gateway/jobs/${encodeURIComponent(promptId)}/run-anyway`, undefined, signal)
  }
  cancelHeldJob(promptId: string, signal?: AbortSignal): Promise<HeldJob> {
    return this.call('DELETE', `/api/gateway/jobs/${encodeURIComponent(promptId)}`, undefined, signal)
  }
  history(query: HistoryQuery = {}, signal?: AbortSignal): Promise<HistoryPage> {
    return this.get(`/api/history${queryOf({ ...query })}`, signal)
  }
  /** One run; the first characters of its id are enough where they are no other's. */
  run(runId: string, signal?: AbortSignal): Promise<Run> { return this.get(`/api/history/${encodeURIComponent(runId)}`, signal) }
  compareRuns(left: string, right: string, signal?: AbortSignal): Promise<Comparison> {
    return this.get(`/api/history/compare${queryOf({ left, right })}`, signal)
  }
  trends(query: TrendsQuery = {}, signal?: AbortSignal): Promise<Trends> {
    return this.get(`/api/history/trends${queryOf({ ...query })}`, signal)
  }
  /** Every run that the filter finds, oldest first, as text in pieces: any number of runs in bounded memory, and as long as it takes. */
  async *exportHistory(query: ExportQuery = {}, signal?: AbortSignal): AsyncGenerator<string, void, undefined> {
    const stop = new AbortController() // whoever stops reading ends the connection, also without a signal
    const abort = (): void => { stop.abort(signal?.reason) }
    signal?.addEventListener('abort', abort)
    if (signal?.aborted) abort()
    try {
      const headers: Record<string, string> = this.token ? { authorization: `Bearer ${this.token}` } : {}
      const answer = await fetch(this.exportUrl(query), { headers, signal: stop.signal })
      if (!answer.ok) throw errorOf(answer.status, await answer.text())
      const decoder = new TextDecoder()
      const reader = answer.body?.getReader()
      for (let piece = await reader?.read(); piece && !piece.done; piece = await reader?.read()) {
        const text = decoder.decode(piece.value, { stream: true })
        if (text) yield text
      }
    } catch (error) {
      if (error instanceof PlimsollError || signal?.aborted) throw error
      throw ours('unavailable', 'client.broke_off', 'the daemon broke off: this is not the whole history', 0, String(error))
    } finally {
      signal?.removeEventListener('abort', abort)
      stop.abort()
    }
  }
  /** Where a browser fetches the same as a file. */
  exportUrl(query: ExportQuery = {}): string { return this.url(`/api/history/export${queryOf({ ...query })}`) }
  stats(query: StatsQuery = {}, signal?: AbortSignal): Promise<Stats> {
    return this.get(`/api/stats${queryOf({ ...query })}`, signal)
  }
  doctor(signal?: AbortSignal): Promise<Checkup> { return this.get('/api/doctor', signal) }

  async presets(signal?: AbortSignal): Promise<Preset[]> {
    return (await this.get<{ presets: Preset[] }>('/api/presets', signal)).presets
  }
  loadPreset(name: string, signal?: AbortSignal): Promise<Preset> { return this.get(`/api/presets/${encodeURIComponent(name)}`, signal) }
  async savePreset(name: string, settings: PresetSettings, signal?: AbortSignal): Promise<void> {
    await this.call('PUT', `/api/presets/${encodeURIComponent(name)}`, settings, signal)
  }
  async removePreset(name: string, signal?: AbortSignal): Promise<void> {
    await this.call('DELETE', `/api/presets/${encodeURIComponent(name)}`, undefined, signal)
  }

  url(path: string): string { return this.baseUrl + path }

  protected get<T>(path: string, signal?: AbortSignal): Promise<T> { return this.call<T>('GET', path, undefined, signal) }
  protected post<T>(path: string, body: unknown, signal?: AbortSignal): Promise<T> { return this.call<T>('POST', path, body, signal) }

  private async call<T>(method: string, path: string, body: unknown, signal?: AbortSignal): Promise<T> {
    const deadline = AbortSignal.timeout(this.timeoutMs)
    const headers: Record<string, string> = { accept: 'application/json' }
    if (body !== undefined) headers['content-type'] = 'application/json'
    if (this.token) headers['authorization'] = `Bearer ${this.token}`
    const stop = new AbortController()
    const abort = (): void => { stop.abort((signal?.aborted ? signal : deadline).reason) }
    deadline.addEventListener('abort', abort)
    signal?.addEventListener('abort', abort)
    if (signal?.aborted) abort()
    try {
      const answer = await fetch(this.url(path), {
        method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal: stop.signal,
      })
      const text = await answer.text()
      const value: unknown = text === '' ? undefined : parsed(text)
      if (!answer.ok) throw errorFrom(answer.status, value)
      return value as T // the contract (docs/openapi.yaml) is checked against the running daemon by its own tests
    } catch (error) {
      if (error instanceof PlimsollError || signal?.aborted) throw error
      if (deadline.aborted) throw ours('unavailable', 'client.slow', `no answer within ${this.timeoutMs / 1000} s`, 0)
      throw ours('unavailable', 'client.away', 'the daemon does not answer', 0, String(error))
    } finally {
      deadline.removeEventListener('abort', abort)
      signal?.removeEventListener('abort', abort)
    }
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw ours('internal', 'client.no_json', 'the answer is not JSON', 0)
  }
}
