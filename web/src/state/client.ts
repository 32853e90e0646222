// SPDX-License-Identifier: Apache-2.0
//
// The page's one client. The daemon serves the page, so its own folder is the base (also under /plimsoll/ on the gateway).
import { t, word } from '../i18n'
import { PlimsollError, ResourceManager } from '../lib/resource-manager'

export const client = new ResourceManager({ baseUrl: new URL('.', document.baseURI).href })

// What went wrong in the reader's language, and the daemon's own sentence as the detail.
export function sentenceOf(error: unknown): string {
  if (error instanceof PlimsollError) return t('error.detail', { kind: word('error', error.code), message: error.message })
  return error instanceof Error ? error.message : String(error)
}
export function wasAborted(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError'
}
