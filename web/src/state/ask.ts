// SPDX-License-Identifier: Apache-2.0
//
// One question at a time: a newer one aborts the older, so that answers can never arrive in the wrong order.
import { onScopeDispose, ref, shallowRef, type Ref, type ShallowRef } from 'vue'
import { sentenceOf, wasAborted } from './client'

export interface Asked<T> { answer: ShallowRef<T | null>; error: Ref<string>; busy: Ref<boolean>; ask: () => Promise<void>; stop: () => void }

export function useAsked<T>(question: (signal: AbortSignal) => Promise<T>): Asked<T> {
  const answer = shallowRef<T | null>(null)
  const error = ref('')
  const busy = ref(false)
  let latest: AbortController | null = null

  async function ask(): Promise<void> {
    latest?.abort()
    const mine = new AbortController()
    latest = mine
    busy.value = true
    try {
      const value = await question(mine.signal)
      if (latest !== mine) return
      answer.value = value
      error.value = ''
    } catch (reason) {
      if (latest === mine && !wasAborted(reason)) error.value = sentenceOf(reason)
    } finally {
      if (latest === mine) busy.value = false
    }
  }
  // The answer is not waited for any more; the last one stays.
  function stop(): void {
    latest?.abort()
    latest = null
    busy.value = false
  }
  onScopeDispose(stop)
  return { answer, error, busy, ask, stop }
}
