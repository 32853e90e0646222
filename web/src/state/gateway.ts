// SPDX-License-Identifier: Apache-2.0
//
// The gateway and its queue, as the Monitor shows them. Every prompt that changes is told by the stream and asked about anew here, in
// one question for a burst of them; pause and heat are not told, so they are asked for as the card's samples come.
import { onScopeDispose, ref, watch, type Ref, type ShallowRef } from 'vue'
import type { Gateway } from '../lib/types'
import { useAsked } from './ask'
import { client, sentenceOf } from './client'
import { live } from './live'

const kBurstMs = 250 // chosen: prompts that come together are one change
const kAgeMs = 5_000 // chosen: so old may heat and pause be

export interface AskedGateway { gateway: ShallowRef<Gateway | null>; error: Ref<string>; change: (wish: () => Promise<unknown>) => Promise<void>; ask: () => Promise<void> }

export function useGateway(): AskedGateway {
  const { answer, error, ask } = useAsked((signal) => client.gateway(signal))
  const failure = ref('')
  let timer: ReturnType<typeof setTimeout> | null = null
  let askedMs = 0
  function later(ms: number): void {
    if (timer) return
    timer = setTimeout(() => {
      timer = null
      askedMs = Date.now()
      void ask()
    }, ms)
  }
  async function change(wish: () => Promise<unknown>): Promise<void> {
    try {
      await wish()
      failure.value = ''
    } catch (reason) {
      failure.value = sentenceOf(reason)
    }
    await ask()
  }
  watch(() => live.heldTurn, () => { later(kBurstMs) })
  watch(() => live.device?.atMs, () => { if (Date.now() - askedMs > kAgeMs) later(0) })
  watch(() => live.connection, (state) => { if (state === 'open') later(0) })
  watch(error, (text) => { failure.value = text })
  onScopeDispose(() => { if (timer) clearTimeout(timer) })
  return { gateway: answer, error: failure, change, ask }
}
