// SPDX-License-Identifier: Apache-2.0
//
// Languages. A new one is one folder in languages/ named by its code, with a file for each page; its index exports `name`, `messages`
// (the page's own sentences), `said` (the daemon's, by the codes of src/base/phrase_catalogue.h) and `words`; the type checker and the
// unit tests list what it lacks. English travels with the page, the others are loaded when chosen.
import { ref, shallowRef } from 'vue'
import * as english from './languages/en'

export type MessageKey = keyof typeof english.messages
export type Messages = Record<MessageKey, string>
export type Said = Record<string, string>
export type Words = Record<string, string>
export interface Language { name: string; messages: Messages; said: Said; words: Words }

const files = import.meta.glob<Language>(['./languages/*/index.ts', '!./languages/en/index.ts'])
const names = import.meta.glob<string>(['./languages/*/index.ts'], { import: 'name', eager: true })
const codeOf = (path: string): string => path.split('/').at(-2) ?? ''

export const languages = Object.entries(names).map(([path, name]) => ({ code: codeOf(path), name }))
export const language = ref('en')
export const current = shallowRef<Language>(english)

export function t(key: MessageKey, values: Record<string, string | number> = {}): string {
  return current.value.messages[key].replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole))
}

// Words that the daemon sends as codes (a verdict, a kind of phase); an unknown one is shown as it is.
export function word(group: string, code: string | null | undefined): string {
  if (!code) return ''
  const table: Record<string, string> = current.value.messages
  return table[`${group}.${code}`] ?? code.replaceAll('_', ' ')
}

export async function chooseLanguage(code: string): Promise<void> {
  const load = files[`./languages/${code}/index.ts`]
  const known = code === 'en' || load !== undefined
  current.value = load ? await load() : english
  language.value = known ? code : 'en'
  document.documentElement.lang = language.value
  localStorage.setItem('plimsoll.language', language.value)
}

export async function startLanguage(): Promise<void> {
  const wanted = [localStorage.getItem('plimsoll.language'), ...navigator.languages].filter((code) => code !== null)
  const codes = languages.map((entry) => entry.code)
  const found = wanted.map((code) => code.split('-')[0] ?? '').find((code) => codes.includes(code))
  if (found && found !== 'en') await chooseLanguage(found)
}
