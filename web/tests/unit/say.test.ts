// SPDX-License-Identifier: Apache-2.0
// Goal: what the daemon says is read in the reader's language, with its numbers in the page's own writing, and in English where the
// language does not know the code. Method: phrases as the daemon sends them.
import { afterEach, expect, test } from 'vitest'
import { chooseLanguage } from '../../src/i18n'
import { say, sayAll } from '../../src/i18n/say'
import { PlimsollError } from '../../src/lib/resource-manager'
import type { Phrase } from '../../src/lib/types'
import { sentenceOf } from '../../src/state/client'

const kGib = 1024 ** 3
const under: Phrase = { code: 'judge.under', params: { peak: { unit: 'bytes', value: 4 * kGib }, line: { unit: 'bytes', value: 4.25 * kGib } }, message: 'peak 4096 MiB is under the line of 4352 MiB' }
const plan: Phrase = { code: 'plan.changed', params: { judged: { unit: 'phrase', value: under } }, message: `with these changes: ${under.message}` }
const unheard: Phrase = { code: 'moon.full', params: {}, message: 'the moon is full' }
afterEach(async () => { await chooseLanguage('en') })

test('English is the daemon’s own sentence, begun as one', () => {
  expect(say(plan)).toBe('With these changes: peak 4096 MiB is under the line of 4352 MiB')
  expect(say({ code: '', params: {}, message: 'sd_xl.safetensors: not there' })).toBe('sd_xl.safetensors: not there')
  expect(say(null, 'http://127.0.0.1:8188 answers')).toBe('http://127.0.0.1:8188 answers')
  expect(say(null, 'an older daemon says this')).toBe('An older daemon says this')
  expect(sayAll(undefined, ['none', 'of these'])).toEqual(['none', 'Of these'])
})
test('English words anew what reads better with the page’s own numbers', () => {
  expect(say(under)).toBe('The peak of 4.00 GiB is under the line of 4.25 GiB.')
})
test('another language words the code and the sentence within it', async () => {
  await chooseLanguage('zh')
  expect(say(plan)).toBe('作这些更改后：峰值 4.00 GiB 在载重线 4.25 GiB 之下。')
})
test('a code that the language lacks is shown in English, also within another', async () => {
  await chooseLanguage('zh')
  expect(say(unheard)).toBe('The moon is full')
  expect(say({ ...plan, params: { judged: { unit: 'phrase', value: unheard } } })).toBe('作这些更改后：the moon is full')
})
test('every kind of value is written as the page writes it', async () => {
  await chooseLanguage('zh')
  const phrase = (code: string, params: Phrase['params']): Phrase => ({ code, params, message: '' })
  expect(say(phrase('anyway.under', { peak: { unit: 'bytes', value: kGib }, late: { unit: 'clauses', value: [phrase('anyway.late', { time: { unit: 'seconds', value: 90 }, limit: { unit: 'seconds', value: 60 } })] } })))
    .toBe('可以运行，并保持在载重线之下：1.00 GiB；需要 90 s，上限为 60 s。')
  expect(say(phrase('doctor.driver', { card: { unit: 'text', value: 'RTX 3060' }, driver: { unit: 'text', value: 'nvml' }, heat: { unit: 'details', value: [phrase('heat.now', { now: { unit: 'celsius', value: 61.4 } })] } })))
    .toBe('RTX 3060（nvml），61 °C')
  expect(say(phrase('price.smaller', { share: { unit: 'share', value: 0.8 } }))).toBe('图像变小，边长为原来的 80 %')
  expect(say(phrase('unknown.no_role', { file: { unit: 'text', value: 'a.gguf' }, role: { unit: 'word', value: 'text encoder' } }))).toBe('a.gguf 中没有已知的文本编码器')
  expect(say(phrase('time.copying', { size: { unit: 'bytes', value: kGib }, rate: { unit: 'number', value: 6.25 }, time: { unit: 'seconds', value: 0.16 } }))).toBe('把权重复制到显卡：1.00 GiB，6.25 GB/s = 0.2 s')
})
test('an error is worded by its code, and in the daemon’s English only where the words are somebody else’s', async () => {
  const message = 'no run \'ab12\', see plimsoll history'
  const gone = new PlimsollError('not_found', message, 404, null, { code: 'error.no_run', params: { id: { unit: 'text', value: 'ab12' } }, message })
  expect(sentenceOf(gone)).toBe(`Not found: ${message}`)
  await chooseLanguage('zh')
  expect(sentenceOf(gone)).toBe('未找到：没有运行“ab12”')
  expect(sentenceOf(new PlimsollError('unavailable', 'disk full', 503))).toBe('暂不可用：disk full')
})
