// SPDX-License-Identifier: Apache-2.0
//
// Whether the daemon lets this page in. One that listens beyond its machine asks for its token; a visit of ?token= leaves it in
// a cookie that no script can read, which goes with everything that cannot carry a header: the event stream and pictures.
// The page itself keeps the token nowhere.
import { ref } from 'vue'
import { PlimsollError } from '../lib/resource-manager'
import { client } from './client'

export const locked = ref(false)

export async function askAccess(): Promise<void> {
  try {
    await client.health()
    locked.value = false
  } catch (error) {
    if (error instanceof PlimsollError && error.status === 401) locked.value = true // else: not there, which the stream says
  }
}

// False when the daemon says that this is not its token.
export async function showToken(token: string): Promise<boolean> {
  const answer = await fetch(client.url(`/?token=${encodeURIComponent(token)}`), { cache: 'no-store', referrerPolicy: 'no-referrer' })
  if (answer.status !== 401) await askAccess()
  return !locked.value
}
