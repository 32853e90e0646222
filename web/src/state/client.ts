// SPDX-License-Identifier: Apache-2.0
//
// The page's one client. The daemon serves the page, so its own folder is the base (also under /plimsoll/ on the gateway).
import { t, word } from '../i18n'
import { sayWithin } from '../i18n/say'
import { PlimsollError, ResourceManager } from '../lib/resource-manager'

export const client = new ResourceManager({ baseUrl: new URL('.', document.baseURI).href })

// What went wrong in the reader's language; the daemon's own English sentence only where it is in somebody else's words.
export function sentenceOf(error: unknown): string {
  if (error instanceof PlimsollError) return t('error.detail', { kind: word('error', error.code), message: sayWithin(error.phrase, error.message) })
  return error instanceof Error ? error.message : String(error)
}
export function wasAborted(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError'
}
