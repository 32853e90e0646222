// SPDX-License-Identifier: Apache-2.0
// Goal: the page is as quick as promised: < 100 ms from a slider to the forecast on screen, < 1 s until it can be used, 60 frames a
// second with half an hour of samples on the chart, < 250 KiB before the first view. Method: the real page measures itself by the
// browser's clock. Other programs run beside and two cores are soon full: medians count. Every number is printed.
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Daemon, openBrowser } from './ship'

const daemon = new Daemon()
let browser: Browser

beforeAll(async () => {
  await daemon.start(50)
  browser = await openBrowser()
})
afterAll(async () => {
  await browser.close()
  await daemon.remove()
})
const sorted = (values: number[]): number[] => [...values].sort((a, b) => a - b)
const atShare = (values: number[], share: number): number => sorted(values)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? Number.NaN
const median = (values: number[]): number => atShare(values, 0.5)

async function withPage(use: (page: Page) => Promise<void>, prepare: (page: Page) => Promise<unknown> = () => Promise.resolve()): Promise<void> {
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 } })
  try {
    await prepare(page)
    await use(page)
  } finally {
    await page.close()
  }
}

test('a slider that moves has its new forecast on screen within 100 ms', async () => {
  await withPage(async (page) => {
    await page.goto(`${daemon.url}/#/generate`)
    await page.locator('[data-test=peak]').waitFor()
    const times = await page.evaluate(async () => {
      const slider = document.querySelector<HTMLInputElement>('input[type=range]')
      const verdict = document.querySelector('[data-test=verdict]')
      if (!slider || !verdict) throw new Error('no slider, no verdict')
      const taken: number[] = []
      for (let move = 0; move < 20; move++) {
        const before = verdict.textContent
        const from = performance.now()
        slider.value = String(520 + ((move * 7) % 60) * 16)
        slider.dispatchEvent(new Event('input', { bubbles: true }))
        await new Promise<void>((done, fail) => {
          const late = setTimeout(() => { fail(new Error(`no new forecast after move ${move}`)) }, 5000)
          const look = (): void => {
            if (verdict.textContent === before) { requestAnimationFrame(look); return }
            clearTimeout(late)
            requestAnimationFrame(() => { done() }) // the frame after the change: it is painted
          }
          requestAnimationFrame(look)
        })
        taken.push(performance.now() - from)
        await new Promise((done) => setTimeout(done, 600)) // until bounds, ends and plan of this move are answered too
      }
      return taken
    })
    console.log(`slider to forecast on screen: p25 ${atShare(times, 0.25).toFixed(0)} ms, median ${median(times).toFixed(0)} ms, p90 ${atShare(times, 0.9).toFixed(0)} ms, ${times.length} moves`)
    expect(median(times)).toBeLessThan(100)
  })
})

test('the page can be used within a second', async () => {
  for (const [where, wanted] of [['monitor', '.scene'], ['generate', '#s-prompt']] as const) {
    const times: number[] = []
    for (let turn = 0; turn < 5; turn++) {
      const context = await browser.newContext({ viewport: { width: 1440, height: 900 } }) // nothing cached
      const page = await context.newPage()
      await page.addInitScript((selector) => {
        const watcher = new MutationObserver(() => {
          if (!document.querySelector(selector)) return
          watcher.disconnect()
          requestAnimationFrame(() => { setTimeout(() => { Object.assign(window, { usableMs: performance.now() }) }) }) // painted, and the main thread is free
        })
        watcher.observe(document, { childList: true, subtree: true })
      }, wanted)
      await page.goto(`${daemon.url}/#/${where}`)
      await page.waitForFunction(() => 'usableMs' in window)
      times.push(await page.evaluate(() => (window as unknown as { usableMs: number }).usableMs))
      await context.close()
    }
    console.log(`${where} usable after: median ${median(times).toFixed(0)} ms, slowest ${Math.max(...times).toFixed(0)} ms, ${times.length} cold loads`)
    expect(median(times), where).toBeLessThan(1000)
  }
})

test('half an hour of samples moves at 60 frames a second', async () => {
  for (const hertz of [1, 10]) {
    await withPage(async (page) => {
      await page.goto(`${daemon.url}/#/monitor`)
      await page.locator('.chart canvas').waitFor()
      const frames = await page.evaluate(async () => {
        const deltas: number[] = []
        let last = performance.now()
        const end = last + 4000
        await new Promise<void>((done) => {
          const look = (now: number): void => {
            deltas.push(now - last)
            last = now
            if (now < end) requestAnimationFrame(look)
            else done()
          }
          requestAnimationFrame(look)
        })
        return deltas.slice(2)
      })
      const fps = 1000 / (frames.reduce((sum, one) => sum + one, 0) / frames.length)
      console.log(`${1800 * hertz} samples, ${hertz} new ones a second: ${fps.toFixed(1)} frames a second, median frame ${median(frames).toFixed(1)} ms, p95 ${atShare(frames, 0.95).toFixed(1)} ms`)
      expect(median(frames)).toBeLessThan(17.5) // a frame of 60 Hz has 16.7 ms
    }, (page) => page.addInitScript((rate) => {
      // A double of the stream: half an hour at once, then as it would go on.
      window.EventSource = class extends EventTarget {
        readyState = 1
        constructor() {
          super()
          const from = Date.now() - 1_800_000
          let index = 0
          const say = (): void => {
            const value = { atMs: from + (index * 1000) / rate, jobId: null, name: 'a card', card: null, totalBytes: 6e9, usedBytes: 2e9 + 1.5e9 * Math.sin(index / (40 * rate)),
              allocatedBytes: null, loadLineBytes: 4.5e9, temperatureC: 60, powerWatts: 60, clockMhz: 1400, utilization: 0.9, throttled: false, limits: { targetC: 83, maxOperatingC: 87, slowdownC: 102, shutdownC: 105 }, state: 'awake', trouble: '', holdings: [], processes: [] }
            this.dispatchEvent(new MessageEvent('telemetry', { data: JSON.stringify(value), lastEventId: `x-${index++}` }))
          }
          setTimeout(() => {
            this.dispatchEvent(new Event('open'))
            while (index < 1800 * rate) say()
            setInterval(say, 1000 / rate)
          })
        }
        close(): void { this.readyState = 2 }
      } as unknown as typeof EventSource
    }, hertz))
  }
})

test('a log book of 20,000 runs scrolls with a handful of rows in the document', async () => {
  const kRuns = 20_000
  const run = (index: number): object => ({ runId: `run-${index}`, startedMs: 1_795_900_000_000 - index * 60_000, endedMs: null, promptId: '', prompt: `prompt ${index}`, model: 'sdxl-base',
    checkpoint: 'x', family: 'sdxl', settings: { width: 1024, height: 1024, batch: 1, steps: 20, cfg: 7, sampler: 'euler', scheduler: 'normal', quality: 'high', seed: '1' }, card: 'c',
    comfyuiVersion: '', verdict: 'fits', loadLineBytes: 4e9, forecastPeakBytes: 3e9, forecastSeconds: 9, observedPeakBytes: 3e9, observedUsedBytes: null, cardTotalBytes: null,
    observedSeconds: 9, phases: [], changes: [], images: [], outcome: 'done', error: null })
  await withPage(async (page) => {
    // A double of the daemon's pages; the daemon's own speed is measured where it is built (bench_history).
    await page.route('**/api/history?**', (route) => {
      const query = new URL(route.request().url()).searchParams
      const from = Number(query.get('cursor') ?? 0)
      const until = Math.min(from + Number(query.get('limit')), kRuns)
      const runs = Array.from({ length: until - from }, (_, index) => run(from + index))
      return route.fulfill({ json: { runs, nextCursor: until < kRuns ? until : null } })
    })
    await page.goto(`${daemon.url}/#/history`)
    await page.getByText('prompt 0', { exact: true }).waitFor()
    const most = await page.evaluate(async () => {
      const book = document.querySelector('.book')
      if (!book) throw new Error('no table')
      let rows = 0
      for (let turn = 0; turn < 3000; turn++) {
        const before = book.scrollTop
        book.scrollTop += 4000
        await new Promise((done) => { requestAnimationFrame(done) })
        rows = Math.max(rows, document.querySelectorAll('.run').length)
        if (book.textContent.includes('prompt 19999')) return rows
        if (book.scrollTop === before) await new Promise((done) => setTimeout(done, 20)) // the next page is under way
      }
      throw new Error('the end was not reached')
    })
    console.log(`20,000 runs scrolled through: at most ${most} rows in the document`)
    expect(most).toBeLessThan(100)
    const frames = await page.evaluate(async () => {
      const book = document.querySelector('.book')
      const deltas: number[] = []
      let last = performance.now()
      for (let turn = 0; turn < 120; turn++) {
        if (book) book.scrollTop -= 777
        await new Promise((done) => { requestAnimationFrame(done) })
        deltas.push(performance.now() - last)
        last = performance.now()
      }
      return deltas.slice(2)
    })
    console.log(`scrolling by half a screen a frame: median ${median(frames).toFixed(1)} ms a frame, p95 ${atShare(frames, 0.95).toFixed(1)} ms`)
    expect(median(frames)).toBeLessThan(34) // 30 frames a second at the least, while every row is a new one
  })
})

test('the first view is small', async () => {
  await withPage(async (page) => {
    const session = await page.context().newCDPSession(page)
    await session.send('Network.enable')
    let bytes = 0
    session.on('Network.loadingFinished', (event) => { bytes += event.encodedDataLength }) // on the wire: heads and API answers too
    await page.goto(`${daemon.url}/#/monitor`)
    await page.locator('.scene').waitFor()
    await page.waitForLoadState('load')
    console.log(`first view: ${(bytes / 1024).toFixed(1)} KiB over the wire`)
    expect(bytes).toBeGreaterThan(10_000)
    expect(bytes).toBeLessThan(250 * 1024)
  })
})
