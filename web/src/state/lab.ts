// SPDX-License-Identifier: Apache-2.0
//
// The quality lab as its page shows it: one session, asked for anew while it runs, and words for its numbers. Every number is the
// daemon's; the page only writes them down.
import { onScopeDispose, ref, shallowRef, watch, type Ref, type ShallowRef } from 'vue'
import { formatNumber, formatSeconds, formatSize } from '../format'
import { t, word } from '../i18n'
import { sayWithin } from '../i18n/say'
import { isOver, QualityTester } from '../lib/quality-tester'
import type { QualityCandidate, QualityMark, QualitySession, QualitySetting } from '../lib/types'
import { client, sentenceOf, wasAborted } from './client'
import { applySettings } from './settings'

export const lab = new QualityTester({ baseUrl: client.url('') })
const kPollMs = 2_000 // chosen: a picture takes ten seconds and more

export interface WatchedSession { session: ShallowRef<QualitySession | null>; error: Ref<string>; change: (wish: () => Promise<QualitySession>) => Promise<void> }

export function useSession(sessionId: () => string): WatchedSession {
  const session = shallowRef<QualitySession | null>(null)
  const error = ref('')
  let timer: ReturnType<typeof setTimeout> | undefined
  let latest: AbortController | null = null
  let isLate = false // nobody looked when its time came
  function look(): void { if (isLate && !document.hidden) void ask() }

  async function ask(): Promise<void> {
    clearTimeout(timer)
    isLate = false
    latest?.abort()
    const mine = new AbortController()
    latest = mine
    const id = sessionId()
    if (!id) {
      session.value = null
      error.value = ''
      return
    }
    try {
      const found = await lab.getTestStatus(id, mine.signal)
      if (latest !== mine) return
      session.value = found
      error.value = ''
    } catch (reason) {
      if (latest !== mine || wasAborted(reason)) return
      error.value = sentenceOf(reason)
      if (session.value?.sessionId !== id) session.value = null
    }
    // What is over changes no more; what could not be asked may be there again.
    if (!session.value || !isOver(session.value)) timer = setTimeout(() => { if (document.hidden) isLate = true; else void ask() }, kPollMs)
  }
  async function change(wish: () => Promise<QualitySession>): Promise<void> {
    try {
      await wish()
      await ask()
    } catch (reason) {
      error.value = sentenceOf(reason)
    }
  }
  watch(sessionId, () => {
    session.value = null
    void ask()
  }, { immediate: true })
  document.addEventListener('visibilitychange', look)
  onScopeDispose(() => {
    document.removeEventListener('visibilitychange', look)
    clearTimeout(timer)
    latest?.abort()
  })
  return { session, error, change }
}

export function settingText(setting: QualitySetting, beside?: QualitySetting): string {
  const { sampler, scheduler, steps, cfg, width, height } = setting
  return t('lab.setting', { sampler, scheduler, steps, cfg, size: formatSize(width, height) })
    + (setting.vaeTiling ? t('lab.tiled') : '')
    + (beside && beside.checkpoint !== setting.checkpoint ? ` · ${setting.checkpoint}` : '')
}
export const candidateText = (session: QualitySession, index: number): string => {
  const one = session.candidates[index]
  return one ? settingText(one.setting, session.candidates[session.reference]?.setting) : ''
}

export function answerText(session: QualitySession): string {
  const { chosen, best } = session.answer
  if (chosen === null) return t('lab.answer.none')
  const one = session.candidates[chosen]
  const setting = candidateText(session, chosen)
  if (!one || chosen === best || best === null || !one.toBest) return t('lab.answer.best', { setting })
  return t('lab.answer.chosen', {
    setting, time: formatSeconds(one.seconds), bestTime: formatSeconds(session.candidates[best]?.seconds), ...pointsOf(one.toBest),
  })
}
const pointsOf = ({ points, low, high, pairs }: NonNullable<QualityCandidate['toBest']>): Record<string, string> =>
  ({ points: formatNumber(points, 1), low: formatNumber(low, 1), high: formatNumber(high, 1), pairs: String(pairs) })

// Why one was not chosen, as far as its numbers say it; what the daemon found out by itself is in its own words.
export function whyText(session: QualitySession, one: QualityCandidate): string {
  if (one.leftOut) return sayWithin(one.leftOutPhrase, one.leftOut)
  if (session.answer.chosen === one.candidate) return t('lab.chosen')
  const defect = one.worstDefect ? t('lab.mostly', { defect: word('defect', one.worstDefect) }) : ''
  if (one.finding === 'too_few' || !one.toBest) return t('lab.why.too_few') + defect
  if (one.finding === 'worse') return t('lab.why.worse', pointsOf(one.toBest)) + defect
  if (one.finding === 'undecided') return t('lab.why.undecided', pointsOf(one.toBest)) + defect
  const chosen = session.candidates[session.answer.chosen ?? -1]
  return t('lab.why.as_good', { time: formatSeconds(one.seconds), chosenTime: formatSeconds(chosen?.seconds) })
}

export function markText(mark: QualityMark): string {
  if (!mark.defect) return t('lab.mark.none')
  const name = word('defect', mark.defect)
  if (!mark.place) return t('lab.mark.nowhere', { defect: name })
  if (mark.defect === 'difference') return t('lab.mark.difference')
  const amount = (value: number): string => (mark.defect === 'burn' ? t('lab.mark.pixels', { share: formatNumber(value * 100) }) : t('lab.mark.levels', { levels: formatNumber(value, 1) }))
  const { here, inReference } = mark.place
  return inReference === null ? t('lab.mark.here', { defect: name, here: amount(here) }) : t('lab.mark.beside', { defect: name, here: amount(here), reference: amount(inReference) })
}

// "Use these settings": a checkpoint of its own precision is named itself, else the profile that was tested.
export function applyCandidate(session: QualitySession, setting: QualitySetting): void {
  const { width, height, steps, cfg, sampler, scheduler, vaeTiling, checkpoint } = setting
  const model = session.candidates[session.reference]?.setting.checkpoint === checkpoint ? session.model : checkpoint
  applySettings({ model, width, height, steps, cfg, sampler, scheduler, vaeTiling })
  location.hash = '#/generate'
}
