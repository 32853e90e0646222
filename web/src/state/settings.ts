// SPDX-License-Identifier: Apache-2.0
//
// The settings that Generate edits, shared with History ("use these settings") and Card what-if. Starting values are the
// design's first profile; the limits are those of generated settings (512 to 1536 in steps of 8, steps 8 to 50, CFG 1 to 15).
import { reactive, ref } from 'vue'
import type { MessageKey } from '../i18n'
import type { GenerateRequest, JobRequest, Knob, Plan, PlanRequest, PresetSettings, Quality, RunSettings, Settings, SettingsRequest } from '../lib/types'

export interface EditedSettings extends Settings { quality: Quality; prompt: string; negative: string }
export const settings = reactive<EditedSettings>({
  prompt: '', negative: '', model: 'sdxl-base', width: 1024, height: 1024, steps: 20, cfg: 7, sampler: 'euler',
  scheduler: 'normal', seed: 1, batch: 1, quality: 'optimized', vaeTiling: false,
})
// The sliders: bounds are the design's ranges for generated settings; the daemon knows the largest value of each that fits.
export type SliderName = Extract<Knob, 'width' | 'height' | 'batch' | 'steps' | 'cfg'>
export type SafeBounds = Partial<Record<SliderName, number | null>>
export const sliders: readonly { name: SliderName; label: MessageKey; min: number; max: number; step: number }[] = [
  { name: 'width', label: 'field.width', min: 512, max: 1536, step: 8 },
  { name: 'height', label: 'field.height', min: 512, max: 1536, step: 8 },
  { name: 'batch', label: 'field.batch', min: 1, max: 64, step: 1 },
  { name: 'steps', label: 'field.steps', min: 8, max: 50, step: 1 },
  { name: 'cfg', label: 'field.cfg', min: 1, max: 15, step: 0.5 },
]
export type Pin = NonNullable<PlanRequest['pin']>[number]
export const pins = reactive(new Set<Pin>())
export const ownWorkflow = ref<{ name: string; workflow: Record<string, never> } | null>(null)

// What decides memory and time; the prompt's words do not, so typing them asks nothing.
export function jobRequest(): JobRequest {
  if (ownWorkflow.value) return { workflow: ownWorkflow.value.workflow }
  const { model, width, height, steps, cfg, sampler, scheduler, seed, batch, quality, vaeTiling } = settings
  return { model, width, height, steps, cfg, sampler, scheduler, seed, batch, quality, vaeTiling }
}
// What the score of a picture hangs on; how many are drawn at once is not among it.
export function scoreRequest(): SettingsRequest {
  const { model, width, height, steps, cfg, sampler, scheduler, vaeTiling } = settings
  return { model, width, height, steps, cfg, sampler, scheduler, vaeTiling }
}
export function planRequest(): PlanRequest {
  return { ...jobRequest(), pin: [...pins] }
}
// With its words; a workflow of the user's own brings them itself.
export function generateRequest(runAnyway: boolean): GenerateRequest {
  const { prompt, negative } = settings
  return { ...planRequest(), ...(ownWorkflow.value ? {} : { prompt, negative }), runAnyway }
}
export function presetSettings(): PresetSettings {
  const { model, negative, width, height, steps, cfg, sampler, scheduler, seed, batch, quality, vaeTiling } = settings
  return { model, negative, width, height, steps, cfg, sampler, scheduler, seed, batch, quality, vaeTiling }
}
export function applySettings(from: PresetSettings & { prompt?: string }): void {
  ownWorkflow.value = null
  Object.assign(settings, from)
}
export function applyRun(model: string, prompt: string, from: RunSettings): void {
  const { width, height, batch, steps, cfg, sampler, scheduler } = from
  // A seed of 64 bits may be more than a number of this language holds: then the one that is set stays.
  const seed = Number(from.seed)
  applySettings({ model, prompt, width, height, batch, steps, cfg, sampler, scheduler, ...(Number.isSafeInteger(seed) ? { seed } : {}) })
}
// An accepted plan's values, as far as settings can say them: a batch in several runs and a second pass are the daemon's to do.
export function applyPlan(plan: Plan): void {
  for (const change of plan.changes) {
    if (change.kind === 'tile_vae') settings.vaeTiling = true
    if (change.kind !== 'steps' && change.kind !== 'resolution') continue
    for (const { input, to } of change.values) {
      const value = Number(to)
      if ((input === 'steps' || input === 'width' || input === 'height') && Number.isSafeInteger(value)) settings[input] = value
    }
  }
}
