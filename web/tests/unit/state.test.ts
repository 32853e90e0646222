// SPDX-License-Identifier: Apache-2.0
// Goal: what the views share stays true whatever arrives: no sample twice, no job lost from the queue, a plan's values and nothing
// else in the settings. Method: events and plans worked out by hand.
import { beforeEach, expect, test } from 'vitest'
import type { Change, Job, Plan, Telemetry } from '../../src/lib/types'
import { kKeptMs, live, samples, takeEvent } from '../../src/state/live'
import { applyPlan, settings } from '../../src/state/settings'

const telemetry = (atMs: number, usedBytes: number | null): void => {
  const value = { atMs, usedBytes, totalBytes: 6e9 } as Telemetry
  takeEvent({ id: `e-${atMs}`, type: 'telemetry', value })
}
const job = (jobId: string, state: Job['state'], ahead = 0): void => {
  takeEvent({ id: jobId + state, type: 'job', value: { jobId, state, ahead, submittedMs: 1, endedMs: state === 'queued' || state === 'running' ? null : 2 } as Job })
}
const change = (kind: Change['kind'], values: [string, string][]): Change => ({ kind, values: values.map(([input, to]) => ({ nodeId: '5', input, from: '', to })) }) as Change

beforeEach(() => {
  samples.value = []
  live.queue = []
  live.job = null
})

test('a sample that is sent again, or from before, is no second one', () => {
  for (const atMs of [1000, 2000, 2000, 1500, 3000]) telemetry(atMs, atMs)
  expect(samples.value.map((sample) => sample.atMs)).toEqual([1000, 2000, 3000])
})
test('what is not measured is no sample', () => {
  telemetry(1000, null)
  expect(samples.value).toEqual([])
})
test('half an hour is kept, however dense', () => {
  for (let atMs = 0; atMs <= kKeptMs + 60_000; atMs += 500) telemetry(atMs, 1)
  expect(samples.value[0]?.atMs).toBe(60_000)
  expect(samples.value).toHaveLength(kKeptMs / 500 + 1)
})
test('a job leaves the queue when it runs, and one that waits does not hide the one that runs', () => {
  job('a', 'queued', 0)
  job('b', 'queued', 1)
  job('c', 'queued', 2)
  job('b', 'queued', 1)
  job('a', 'running')
  expect([live.job?.jobId, live.queue.map((one) => one.jobId)]).toEqual(['a', ['b', 'c']])
  job('c', 'cancelled')
  expect([live.job?.jobId, live.queue.map((one) => one.jobId)]).toEqual(['a', ['b']])
})
test('an accepted plan writes tiles, steps and size, and leaves to the daemon what settings cannot say', () => {
  Object.assign(settings, { width: 1536, height: 1536, steps: 50, batch: 16, vaeTiling: false })
  const changes = [change('tile_vae', [['class_type', 'decode in tiles']]), change('split_batch', [['batch_size', '2 runs of 8']]), change('steps', [['steps', '25']]),
    change('two_pass', [['width', '1088'], ['height', '1088']])]
  applyPlan({ changes } as Plan)
  expect([settings.vaeTiling, settings.batch, settings.steps, settings.width]).toEqual([true, 16, 25, 1536])
  applyPlan({ changes: [change('resolution', [['width', '640'], ['height', '768']])] } as Plan)
  expect([settings.width, settings.height]).toEqual([640, 768])
})
