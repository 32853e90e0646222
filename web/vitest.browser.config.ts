// SPDX-License-Identifier: Apache-2.0
//
// The page in a real browser against the real daemon (tests/browser): one file, one browser, one test after the other.
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: { environment: 'node', include: ['tests/browser/**/*.test.ts'], fileParallelism: false, testTimeout: 60_000, hookTimeout: 60_000 },
})
