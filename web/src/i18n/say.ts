// SPDX-License-Identifier: Apache-2.0
//
// What the daemon says: a code with its values, worded here in the reader's language. A code that the language does not word is
// shown as the daemon's own English sentence, and so is what is somebody else's (an error of ComfyUI's).
import { current, t } from '.'
import { formatBytes, formatNumber, formatPercent, formatSeconds, formatUnit } from '../format'
import type { Phrase, PhraseParam } from '../lib/types'

// The daemon's sentences begin low and end without a stop, so that they can stand within others.
export function asSentence(message: string): string {
  const first = message.charAt(0)
  return /^[a-z]+(?:[ ,]|: )/.test(message) ? first.toUpperCase() + message.slice(1) : message
}

const isList = (value: PhraseParam['value']): value is Phrase[] => Array.isArray(value)
const isPhrase = (value: PhraseParam['value']): value is Phrase => typeof value === 'object' && value !== null && !Array.isArray(value)

function wordsOf({ unit, value }: PhraseParam): string {
  if (typeof value === 'number') {
    if (unit === 'bytes') return formatBytes(value)
    if (unit === 'seconds') return formatSeconds(value)
    if (unit === 'share') return formatPercent(value)
    if (unit === 'celsius') return formatUnit(value, '°C')
    return formatNumber(value, Number.isInteger(value) ? 0 : 2)
  }
  if (typeof value === 'string') return unit === 'word' ? current.value.words[value] ?? value : value
  if (isPhrase(value)) return worded(value)
  if (isList(value)) return value.map((one) => t(unit === 'clauses' ? 'say.clause' : 'say.detail', { text: worded(one) })).join('')
  return ''
}

function worded({ code, params, message }: Phrase): string {
  const sentence = current.value.said[code]
  return sentence === undefined ? message : sentence.replace(/\{(\w+)\}/g, (whole, name: string) => (params[name] ? wordsOf(params[name]) : whole))
}

// `message` is the daemon's English, for one that is too old to send phrases.
export function say(phrase: Phrase | null | undefined, message: string | null = ''): string {
  return asSentence(phrase ? worded(phrase) : message ?? '')
}
// Within a line of the page's own, where a capital would stand in the middle.
export function sayWithin(phrase: Phrase | null | undefined, message: string): string {
  return phrase ? worded(phrase) : message
}
export function sayAll(phrases: readonly Phrase[] | undefined, messages: readonly string[]): string[] {
  return phrases ? phrases.map((phrase) => say(phrase)) : messages.map(asSentence)
}
