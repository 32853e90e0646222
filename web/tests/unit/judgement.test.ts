// SPDX-License-Identifier: Apache-2.0
// Goal: each way in which a forecast stands to the line has its own sentence, with its own numbers. Method: forecasts made by hand.
import { expect, test } from 'vitest'
import { sentenceOfForecast } from '../../src/judgement'
import type { PricedForecast } from '../../src/lib/types'

const kGib = 1024 ** 3
const forecast = (standing: PricedForecast['judgement']['standing'], more: Partial<PricedForecast> = {}, inTime = true): PricedForecast => ({
  verdict: 'fits', cardVerdict: 'fits', loadLineBytes: 4 * kGib, peakBytes: 5 * kGib, floorBytes: 2 * kGib, workingSetBytes: 6 * kGib, cardLimitBytes: 5.5 * kGib,
  seconds: 90, secondsMax: 60, judgement: { standing, overByBytes: kGib, inTime, sentence: '' }, ...more }) as PricedForecast

test('where the job stands is said with the numbers that decide it', () => {
  expect(sentenceOfForecast(forecast('under'))).toBe('The peak of 5.00 GiB is under the line of 4.00 GiB.')
  expect(sentenceOfForecast(forecast('parked'))).toMatch(/5.00 GiB is 1.00 GiB above the line of 4.00 GiB.*2.00 GiB are needed/)
  expect(sentenceOfForecast(forecast('over', { cardVerdict: 'will_not_fit' }))).toMatch(/2.00 GiB must fit, 5.50 GiB are there/)
  expect(sentenceOfForecast(forecast('over', { floorBytes: 4.5 * kGib }))).toMatch(/4.50 GiB cannot be paged/)
  expect(sentenceOfForecast(forecast('over'))).toMatch(/hold 6.00 GiB with its kernels/)
  expect(sentenceOfForecast(forecast('unknown'))).toMatch(/not understood/)
})
test('time over the limit is said beside', () => {
  expect(sentenceOfForecast(forecast('under', {}, false))).toMatch(/under the line.* It takes 90 s, which is above the limit of 60 s\.$/)
  expect(sentenceOfForecast(forecast('under'))).not.toContain('limit')
})
