// SPDX-License-Identifier: Apache-2.0
// Goal: every sentence that the page asks for exists in every language, with the same blanks, and none is carried for nothing.
// Method: the sources are read as text. A key is used by its literal ('a.b'), by a template that it completes (`a.${x}`), or as
// the word of a group that the daemon's codes choose: word('a', code).
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { messages as english, type messages } from '../../src/i18n/languages/en'
import type { Language } from '../../src/i18n'
import type { Change, ErrorBody, Finding, Gateway, HeldJob, Phase, Plan, Run, Verdict } from '../../src/lib/types'

const files = import.meta.glob<string>(['../../src/**/*.{vue,ts}', '!../../src/i18n/languages/**', '!../../src/lib/contract.ts'], { query: '?raw', import: 'default', eager: true })
const sources = Object.values(files).join('\n')
const languages = import.meta.glob<Omit<Language, 'messages'> & { messages: Record<string, string> }>('../../src/i18n/languages/*/index.ts', { eager: true })
const all = (pattern: RegExp): string[] => [...sources.matchAll(pattern)].flatMap((match) => match[1] ?? [])
const keys = Object.keys(english)

test('no sentence is carried that the page never shows', () => {
  const literals = new Set(all(/'([a-z]\w*(?:\.\w+)+)'/g))
  const openings = [...all(/`([a-z]\w*(?:\.\w+)*\.)\$\{/g), ...all(/\bword\('(\w+)'/g).map((group) => `${group}.`)]
  expect(openings.length).toBeGreaterThan(3) // else the patterns above match nothing any more
  expect(keys.filter((key) => !literals.has(key) && !openings.some((opening) => key.startsWith(opening)))).toEqual([])
})
test('every sentence that the page asks for exists', () => {
  const asked = all(/\bt\('([^']+)'/g)
  expect(asked.length).toBeGreaterThan(50)
  expect(asked.filter((key) => !keys.includes(key))).toEqual([])
})
test('every language has every sentence, with the same blanks', () => {
  const blanks = (text = ''): string => (text.match(/\{\w+\}/g) ?? []).sort().join(' ')
  expect(Object.keys(languages).length).toBeGreaterThan(1)
  for (const [path, language] of Object.entries(languages)) {
    expect(Object.keys(language.messages).sort(), path).toEqual([...keys].sort())
    for (const [key, text] of Object.entries(english)) expect(`${key} ${blanks(language.messages[key])}`, path).toBe(`${key} ${blanks(text)}`)
  }
})
// The daemon's own catalogue is read, so that a sentence it learns cannot be forgotten here. English is what it says by itself.
test('every language words what the daemon says, with the same values', () => {
  const catalogue = readFileSync('../src/base/phrase_catalogue.h', 'utf8')
  const entries = [...catalogue.matchAll(/^ {4}\{"([a-z_.]+)", "(.*)"\},$/gm)].map(([, code = '', text = '']) => [code, text] as const)
  expect(entries.length).toBeGreaterThan(100)
  expect(entries.length).toBe((catalogue.match(/^ {4}\{"/gm) ?? []).length)
  const ofTheClient = [...new Set(all(/'(client\.\w+)'/g))].sort() // src/lib has sentences of its own
  expect(ofTheClient.length).toBeGreaterThan(3)
  const places = (text: string): string => [...new Set([...text.matchAll(/\{(\w+)[:}]/g)].map((match) => match[1]))].sort().join(' ')
  for (const [path, { said }] of Object.entries(languages)) {
    const codes = entries.map(([code]) => code)
    if (!path.endsWith('/en/index.ts')) expect(codes.filter((code) => !said[code]), path).toEqual([])
    expect(Object.keys(said).filter((code) => !codes.includes(code)).sort(), path).toEqual(path.endsWith('/en/index.ts') ? [] : ofTheClient)
    for (const [code, text] of entries) if (said[code]) expect(`${code} ${places(said[code])}`, path).toBe(`${code} ${places(text)}`)
  }
})
// The compiler holds these tables to the contract: a code that the daemon learns must be named here.
test('every code of the contract has its word', () => {
  const verdict: Record<Verdict, keyof typeof messages> = { fits: 'verdict.fits', fits_slowly: 'verdict.fits_slowly', will_not_fit: 'verdict.will_not_fit', unknown: 'verdict.unknown' }
  const plan: Record<Plan['verdict'], keyof typeof messages> = { fits: 'plan.fits', fits_changed: 'plan.fits_changed', fits_parked: 'plan.fits_parked', nothing_fits: 'plan.nothing_fits', unknown: 'plan.unknown' }
  const outcome: Record<Run['outcome'], keyof typeof messages> = { running: 'outcome.running', done: 'outcome.done', out_of_memory: 'outcome.out_of_memory', failed: 'outcome.failed', cancelled: 'outcome.cancelled', timed_out: 'outcome.timed_out', lost: 'outcome.lost' }
  const phase: Record<Phase['kind'], keyof typeof messages> = { load: 'phase.load', text_encode: 'phase.text_encode', image_encode: 'phase.image_encode', sample: 'phase.sample', vae_encode: 'phase.vae_encode', vae_decode: 'phase.vae_decode', upscale: 'phase.upscale', other: 'phase.other', unknown: 'phase.unknown' }
  const health: Record<Finding['health'], keyof typeof messages> = { good: 'health.good', notice: 'health.notice', problem: 'health.problem' }
  const change: Record<Change['kind'], keyof typeof messages> = { tile_vae: 'change.tile_vae', split_batch: 'change.split_batch', free_models: 'change.free_models', reserve_vram: 'change.reserve_vram', lower_precision: 'change.lower_precision', two_pass: 'change.two_pass', resolution: 'change.resolution', steps: 'change.steps' }
  const policy: Record<Gateway['policy'], keyof typeof messages> = { observe: 'policy.observe', advise: 'policy.advise', fit: 'policy.fit', enforce: 'policy.enforce' }
  const heat: Record<Gateway['heat'], keyof typeof messages> = { unknown: 'heat.unknown', cool: 'heat.cool', warm: 'heat.warm', hot: 'heat.hot', critical: 'heat.critical' }
  const held: Record<HeldJob['state'], keyof typeof messages> = { waiting: 'held.waiting', sent: 'held.sent', running: 'held.running', done: 'held.done', failed: 'held.failed', cancelled: 'held.cancelled', refused: 'held.refused' }
  const waits: Record<HeldJob['waitsFor'], keyof typeof messages> = { nothing: 'waits.nothing', turn: 'waits.turn', pause: 'waits.pause', heat: 'waits.heat', room: 'waits.room', retry: 'waits.retry' }
  const counted: Record<keyof Gateway['counts'], keyof typeof messages> = { accepted: 'counted.accepted', done: 'counted.done', waiting: 'counted.waiting', changed: 'counted.changed', retried: 'counted.retried', refused: 'counted.refused', failed: 'counted.failed', cancelled: 'counted.cancelled', quarantined: 'counted.quarantined', freed: 'counted.freed' }
  const error: Record<ErrorBody['error']['code'], keyof typeof messages> = { invalid_input: 'error.invalid_input', not_found: 'error.not_found', corrupt: 'error.corrupt', limit_exceeded: 'error.limit_exceeded', unavailable: 'error.unavailable', internal: 'error.internal', unauthorized: 'error.unauthorized', forbidden: 'error.forbidden', method_not_allowed: 'error.method_not_allowed', unsupported_media_type: 'error.unsupported_media_type', busy: 'error.busy' }
  for (const table of [error, verdict, plan, outcome, phase, health, change, policy, heat, held, waits, counted])
    for (const [code, key] of Object.entries(table)) expect(key.endsWith(`.${code}`) && english[key] !== '', key).toBe(true)
})
