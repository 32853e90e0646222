// SPDX-License-Identifier: Apache-2.0
//
// The settings that Generate edits, shared with History ("use these settings") and Card what-if. Starting values are the
// design's first profile; the limits are those of generated settings (512 to 1536 in steps of 8, steps 8 to 50, CFG 1 to 15).
import { reactive, ref } from 'vue'
import type { JobRequest, Quality, RunSettings, Settings } from '../lib/types'

export interface EditedSettings extends Settings { quality: Quality; prompt: string; negative: string }
export const settings = reactive<EditedSettings>({
  prompt: '', negative: '', model: 'sdxl-base', width: 1024, height: 1024, steps: 20, cfg: 7, sampler: 'euler',
  scheduler: 'normal', seed: 1, batch: 1, quality: 'optimized', vaeTiling: false,
})
export const pins = reactive(new Set<string>())
export const ownWorkflow = ref<{ name: string; workflow: unknown } | null>(null)

// What decides memory and time; the prompt's words do not, so typing them asks nothing.
export function jobRequest(): JobRequest {
  if (ownWorkflow.value) return { workflow: ownWorkflow.value.workflow }
  const { model, width, height, steps, cfg, sampler, scheduler, seed, batch, quality, vaeTiling } = settings
  return { model, width, height, steps, cfg, sampler, scheduler, seed, batch, quality, vaeTiling }
}
export function planRequest(): JobRequest {
  return { ...jobRequest(), pin: [...pins] }
}
export function applySettings(from: Partial<Settings>): void {
  ownWorkflow.value = null
  Object.assign(settings, from)
}
export function applyRun(model: string, prompt: string, from: RunSettings): void {
  const { width, height, batch, steps, cfg, sampler, scheduler, seed } = from
  applySettings({ model, prompt, width, height, batch, steps, cfg, sampler, scheduler, seed })
}
