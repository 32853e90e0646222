// SPDX-License-Identifier: Apache-2.0
//
// What the event stream says, kept for every view: the card, the job, and half an hour of samples for the chart.
import { reactive, shallowRef } from 'vue'
import { EventStream, type Connection, type PlimsollEvent } from '../lib/event-stream'
import type { Job, Telemetry } from '../lib/types'
import { client } from './client'

export const kSamplesKept = 1800 // 30 minutes at 1 Hz
export interface Sample { atMs: number; usedBytes: number }

export const live = reactive({ connection: 'connecting' as Connection, job: null as Job | null, device: null as Telemetry | null })
export const samples = shallowRef<readonly Sample[]>([])

function isRecord(value: unknown): value is Record<string, unknown> { return typeof value === 'object' && value !== null }
function isTelemetry(value: unknown): value is Telemetry { return isRecord(value) && typeof value['totalBytes'] === 'number' }
function isJob(value: unknown): value is Job { return isRecord(value) && typeof value['jobId'] === 'string' }

export function takeEvent(event: PlimsollEvent): void {
  if (event.type === 'telemetry' && isTelemetry(event.value)) {
    live.device = event.value
    const { atMs, usedBytes } = event.value
    if (usedBytes !== null) samples.value = [...samples.value.slice(1 - kSamplesKept), { atMs, usedBytes }]
  } else if (event.type === 'job' && isJob(event.value)) {
    live.job = event.value
  }
}

export function startLive(): EventStream {
  return new EventStream({
    url: client.url('/api/events'), types: ['telemetry', 'job', 'forecast', 'warning'], onEvent: takeEvent,
    onConnection: (state) => { live.connection = state },
  })
}
