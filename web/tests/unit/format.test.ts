// SPDX-License-Identifier: Apache-2.0
// Goal: sizes count by 1024 and what is not known never reads as zero. Method: values worked out by hand.
import { expect, test } from 'vitest'
import { formatBytes, formatSeconds, formatSecondsDelta, kUnknown } from '../../src/format'

test('the default load line of 4352 MiB reads 4.25 GiB', () => { expect(formatBytes(4352 * 1024 * 1024)).toBe('4.25 GiB') })
test('below a GiB sizes are whole MiB', () => { expect(formatBytes(350 * 1024 * 1024)).toBe('350 MiB') })
test('unknown is a dash, zero is zero', () => {
  expect([formatBytes(null), formatSeconds(undefined), formatBytes(Number.NaN)]).toEqual([kUnknown, kUnknown, kUnknown])
  expect(formatBytes(0)).toBe('0 MiB')
})
test('minutes carry their seconds', () => { expect(formatSeconds(125)).toBe('2 min 05 s') })
test('a price always has its sign', () => { expect([formatSecondsDelta(8.66), formatSecondsDelta(-3)]).toEqual(['+8.7 s', '−3.0 s']) })
