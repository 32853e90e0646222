// SPDX-License-Identifier: Apache-2.0
//
// The page's one client. The daemon serves the page, so its own folder is the base (also under /plimsoll/ on the gateway).
import { ResourceManager } from '../lib/resource-manager'

export const client = new ResourceManager({ baseUrl: new URL('.', document.baseURI).href })

export function sentenceOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
export function wasAborted(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError'
}
