// SPDX-License-Identifier: Apache-2.0
//
// The answers of the daemon by the names that users know: those of the contract (docs/openapi.yaml), from which contract.ts is
// generated (`npm run types`). Sizes are bytes, times are seconds unless the name says Ms.
import type { components, operations } from './contract'

type Schemas = components['schemas']
export type Quality = Schemas['Quality']
export type Verdict = Schemas['Verdict']
export type Settings = Schemas['Settings']
export type ForecastRequest = Schemas['ForecastRequest']
export type PlanRequest = Schemas['PlanRequest']
export type LargestRequest = Schemas['LargestRequest']
export type Knob = LargestRequest['knob']
export type GenerateRequest = Schemas['GenerateRequest']
export type OptimalRequest = Schemas['OptimalRequest']
export type SettingsRequest = Schemas['SettingsRequest']
export type ResidentModel = Schemas['Residency']
export type LiveTensor = Schemas['LiveTensor']
export type Phase = Schemas['Phase']
export type Bound = Schemas['JobBound']
export type Judgement = Schemas['Judgement']
export type PricedForecast = Schemas['PricedForecast']
export type Forecast = Schemas['Forecast']
export type Change = Schemas['Change']
export type Plan = Schemas['Plan']
export type Largest = Schemas['Largest']
export type Optimal = Schemas['Optimal']
export type Safety = Schemas['Safety']
export type ResourceSummary = Schemas['Summary']
export type Preset = Schemas['Preset']
export type PresetSettings = Schemas['PresetSettings']
export type Run = Schemas['Run']
export type RunSettings = Run['settings']
export type HistoryPage = Schemas['History']
export type HistoryQuery = NonNullable<operations['listHistory']['parameters']['query']>
export type Stats = Schemas['Stats']
export type StatsGroup = Schemas['StatsGroup']
export type ExportQuery = NonNullable<operations['exportHistory']['parameters']['query']>
export type Trends = Schemas['Trends']
export type TrendsQuery = NonNullable<operations['getTrends']['parameters']['query']>
export type Comparison = Schemas['Comparison']
export type StatsQuery = NonNullable<operations['getStats']['parameters']['query']>
export type Device = Schemas['Device']
export type Holding = Schemas['Holding']
export type Telemetry = Schemas['Telemetry']
export type CardEntry = Schemas['Card']
export type Models = Schemas['Models']
export type Job = Schemas['Job']
export type JobDetail = Schemas['JobDetail']
export type ForecastEvent = Schemas['ForecastEvent']
export type WarningEvent = Schemas['WarningEvent']
export type Gateway = Schemas['Gateway']
export type HeldJob = Schemas['HeldJob']
export type HeldJobChange = Schemas['HeldJobChange']
export type Health = Schemas['Health']
export type Finding = Schemas['Finding']
export type Checkup = Schemas['Checkup']
export type ErrorBody = Schemas['Error']

// What the page asks about: its settings, or a workflow of the user's own.
export type JobRequest = ForecastRequest
