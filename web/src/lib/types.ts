// SPDX-License-Identifier: Apache-2.0
//
// The answers of the daemon by the names that users know. Field names are those of `plimsoll ... --json`; sizes are bytes,
// times are seconds unless the name says Ms.
export type Verdict = 'fits' | 'fits_slowly' | 'will_not_fit' | 'unknown'
export type Quality = 'draft' | 'optimized' | 'high' | 'ultra'
export type Knob = 'width' | 'height' | 'batch' | 'frames'

export interface Settings {
  model: string
  width: number
  height: number
  steps: number
  cfg: number
  sampler: string
  scheduler: string
  batch: number
  seed: number
  vaeTiling?: boolean
  quality?: Quality
  prompt?: string
  negative?: string
}

// What a job is: settings that the daemon builds a workflow from, or a workflow of the user's own.
export interface JobRequest extends Partial<Settings> {
  workflow?: unknown
  card?: string
  pin?: string[]
  prefer?: 'quality' | 'speed'
}

export interface ResidentModel {
  model: string
  sizeBytes: number
  residentBytes: number
  streamedBytes: number
  largestStreamedBytes: number
  streamedModules: number
}
export interface LiveTensor { bytes: number; shape: number[]; dtype: string; op: string; module: string }

export interface Phase {
  kind: string
  nodeId: string
  classType: string
  peakBytes: number
  floorBytes: number
  comfortBytes: number
  residentBytes: number
  activationsBytes: number
  workingSetBytes: number
  castBytes: number
  loadedBytes: number
  evictedBytes: number
  streamedPerForwardBytes: number
  forwards: number
  batchPerForward: number
  compute: string
  runsOnCard: boolean
  tiled: boolean
  models: ResidentModel[]
  seconds: number
  computeSeconds: number
  streamingSeconds: number
  loadSeconds: number
  peakModule: string
  peakOp: string
  topLive: LiveTensor[]
  reasons: string[]
}

export interface Judgement { standing: string; overByBytes: number; inTime: boolean; sentence: string }

export interface PricedForecast {
  verdict: Verdict
  cardVerdict: Verdict
  loadLineBytes: number
  peakBytes: number
  floorBytes: number
  comfortBytes: number
  workingSetBytes: number
  reservedBytes: number
  cardLimitBytes: number
  seconds: number
  secondsWithoutLoad: number
  secondsMax: number
  judgement: Judgement
  phases: Phase[]
  unknownNodes: string[]
}
export interface Forecast extends PricedForecast {
  model: string
  family: string
  settings: Settings | null
  where: string
  warnings: string[]
}

export interface ChangedValue { nodeId: string; input: string; from: string; to: string }
export interface Change {
  kind: string
  what: string
  nodeId: string
  input: string
  from: string
  to: string
  values: ChangedValue[]
  savesBytes: number
  secondsDelta: number
  qualityCost: number
  qualityWords: string
  reason: string
  needsRestart: boolean
  changesComposition: boolean
}
export interface Plan {
  verdict: string
  loadLineBytes: number
  changes: Change[]
  environment: Change[]
  reserveVramBytes: number | null
  before: PricedForecast
  after: PricedForecast
  secondsAll: number
  runAnyway: string
  explanation: string
  refused: string[]
  workflows: unknown[]
  model: string
  where: string
  warnings: string[]
}

export interface Largest {
  knob: Knob
  value: number | null
  nextValueFailsBecause: string
  forecasts: number
  forecast: PricedForecast
  loadLineBytes: number
  model: string
  where: string
  warnings: string[]
}

export interface RunPhase {
  kind: string
  nodeId: string
  forecastPeakBytes: number
  forecastSeconds: number
  observedPeakBytes: number | null
  observedSeconds: number | null
}
export interface RunSettings {
  width: number
  height: number
  batch: number
  steps: number
  cfg: number
  sampler: string
  scheduler: string
  quality: string
  seed: number
}
export interface Run {
  runId: string | number
  startedMs: number
  endedMs: number | null
  promptId: string
  prompt: string
  model: string
  checkpoint: string
  family: string
  settings: RunSettings
  card: string
  comfyuiVersion: string
  verdict: string
  loadLineBytes: number
  forecastPeakBytes: number
  forecastSeconds: number
  observedPeakBytes: number | null
  observedUsedBytes: number | null
  cardTotalBytes: number | null
  observedSeconds: number | null
  phases: RunPhase[]
  changes: { knob: string; from: string; to: string; savedBytes: number; seconds: number }[]
  images: string[]
  outcome: string
  error: string | null
}
export interface HistoryPage { runs: Run[]; nextCursor: number | string | null }
export interface HistoryQuery { model?: string; card?: string; outcome?: string; text?: string; cursor?: number | string; limit?: number }

export interface Finding { area: string; health: string; text: string; advice: string | null }
export interface Checkup {
  health: string
  comfyuiAnswers: boolean
  findings: Finding[]
  settings: { key: string; environment: string; value: string; source: string }[]
}

export interface Preset { name: string; settings: Partial<Settings>; savedMs: number }
export interface Safety { safe: boolean; reasons: string[] }
export interface ResourceSummary { vramBytes: number; seconds: number; quality: string; phases: Phase[]; warnings: string[] }

export interface Health { status: string; version: string; simulated?: boolean }
export interface Holding { model: string; bytes: number; freeable?: boolean }
export interface Device {
  name: string
  card?: string
  totalBytes: number
  usedBytes: number | null
  loadLineBytes: number
  temperatureC: number | null
  powerWatts: number | null
  clockMhz: number | null
  utilization: number | null
  throttled: boolean | null
  holdings?: Holding[]
}
export interface Job {
  jobId: string
  promptId?: string
  state: string
  prompt?: string
  phase?: string | null
  nodeId?: string | null
  progress: number | null
  step?: number | null
  steps?: number | null
  secondsLeft: number | null
  startedMs?: number | null
  previewUrl?: string | null
  images?: string[]
  error?: string | null
  why?: string | null
  forecast?: PricedForecast | null
}
export interface Models {
  models: { name: string; profile?: boolean; family?: string }[]
  samplers: string[]
  schedulers: string[]
}
export interface CardEntry { name: string; title: string; vramBytes: number }

export interface Telemetry extends Device { atMs: number }
export interface ErrorBody { error: { code: string; message: string; details: unknown } }
