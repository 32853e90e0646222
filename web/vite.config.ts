/// <reference types="vitest/config" />
// SPDX-License-Identifier: Apache-2.0
//
// The page, built into dist/page. Paths are relative, so the daemon may serve it under any prefix (/ or /plimsoll/).
import vue from '@vitejs/plugin-vue'
import { defineConfig } from 'vite'

export default defineConfig({
  base: './',
  plugins: [vue()],
  define: { __VUE_OPTIONS_API__: 'true', __VUE_PROD_DEVTOOLS__: 'false' },
  build: {
    outDir: 'dist/page',
    target: 'es2022',
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    reportCompressedSize: false,
  },
  test: { environment: 'happy-dom', include: ['tests/unit/**/*.test.ts'] },
})
