// SPDX-License-Identifier: Apache-2.0
//
// What the event stream says, kept for every view: the card, the job, and half an hour of samples for the chart.
import { reactive, shallowRef } from 'vue'
import { EventStream, type Connection, type PlimsollEvent } from '../lib/event-stream'
import type { ForecastEvent, Job, PricedForecast, Telemetry, WarningEvent } from '../lib/types'
import { client } from './client'

export const kKeptMs = 30 * 60_000 // half an hour, however dense
const kSamplesMax = 36_000 // chosen: half an hour at 20 Hz
export interface Sample { atMs: number; usedBytes: number }

// The job is the one that runs, else the one that waits first, else the last one that ended.
export const live = reactive({
  connection: 'connecting' as Connection, job: null as Job | null, device: null as Telemetry | null,
  forecast: null as PricedForecast | null, warning: null as WarningEvent | null, queue: [] as Job[],
  heldTurn: 0, // counts what was told of the gateway's prompts
})
let forecastOf = ''
export const samples = shallowRef<readonly Sample[]>([])

function isRecord(value: unknown): value is Record<string, unknown> { return typeof value === 'object' && value !== null }
function isTelemetry(value: unknown): value is Telemetry { return isRecord(value) && typeof value['totalBytes'] === 'number' }
function isForecast(value: unknown): value is ForecastEvent { return isRecord(value) && isRecord(value['forecast']) }
function isWarning(value: unknown): value is WarningEvent { return isRecord(value) && typeof value['message'] === 'string' }
const hasEnded = (job: Job): boolean => job.endedMs !== null
function isJob(value: unknown): value is Job { return isRecord(value) && typeof value['jobId'] === 'string' }

// Jobs that wait keep the order in which they came; a state that comes again replaces itself.
function queueWith(job: Job): Job[] {
  const others = live.queue.filter((one) => one.jobId !== job.jobId)
  return job.state === 'queued' ? [...others, job].sort((a, b) => a.ahead - b.ahead || a.submittedMs - b.submittedMs) : others
}

function takeJob(job: Job): void {
  live.queue = queueWith(job)
  const shown = live.job
  const another = shown !== null && shown.jobId !== job.jobId && !hasEnded(shown)
  if (another && (hasEnded(job) || job.state === 'queued')) return
  live.job = job
  if (job.jobId !== forecastOf) live.forecast = null
  if (job.state === 'running') live.warning = null
}

// A sample that is sent again (a stream that begins anew shows the newest first) is no second one.
function takeSample({ atMs, usedBytes }: Telemetry): void {
  const before = samples.value
  if (usedBytes === null || atMs <= (before.at(-1)?.atMs ?? -Infinity)) return
  let first = Math.max(0, before.length + 1 - kSamplesMax)
  while ((before[first]?.atMs ?? atMs) < atMs - kKeptMs) first++
  samples.value = [...before.slice(first), { atMs, usedBytes }]
}

export function takeEvent(event: PlimsollEvent): void {
  if (event.type === 'telemetry' && isTelemetry(event.value)) {
    live.device = event.value
    takeSample(event.value)
  } else if (event.type === 'job' && isJob(event.value)) {
    takeJob(event.value)
  } else if (event.type === 'forecast' && isForecast(event.value)) {
    forecastOf = event.value.jobId
    live.forecast = event.value.forecast
  } else if (event.type === 'warning' && isWarning(event.value)) {
    live.warning = event.value
  } else if (event.type === 'held') {
    live.heldTurn++
  } else if (event.type === 'reset') {
    live.heldTurn++
    void readAnew()
  }
}

// The daemon started again, or this page was away for long: what it knew may be over.
async function readAnew(): Promise<void> {
  try {
    const jobs = await client.jobs()
    live.queue = jobs.filter((job) => job.state === 'queued')
    const shown = jobs.find((job) => job.jobId === live.job?.jobId)
    live.job = jobs.find((job) => !hasEnded(job)) ?? shown ?? null
  } catch {
    // Gone again: the stream tells when it is back.
  }
}

// Who opens the page after a job has ended sees how it ended; the stream tells only of those that have not.
export async function askLastJob(): Promise<void> {
  if (live.job) return
  try {
    const ended = (await client.jobs()).filter(hasEnded).sort((a, b) => (b.endedMs ?? 0) - (a.endedMs ?? 0))
    live.job ??= ended[0] ?? null
  } catch {
    // Not there: the stream says so.
  }
}

export function startLive(): EventStream {
  return new EventStream({
    url: client.url('/api/events'), types: ['telemetry', 'job', 'held', 'forecast', 'warning', 'reset'], onEvent: takeEvent,
    onConnection: (state) => { live.connection = state },
  })
}
