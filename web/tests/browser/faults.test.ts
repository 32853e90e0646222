// SPDX-License-Identifier: Apache-2.0
// Goal: everybody can use the page: no fault that axe knows on any page, in either theme and language, narrow to ultra-wide, with
// whatever opens on it; and what Lighthouse asks beside axe. Method: the real page with a history behind it.
import type { Browser, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { Daemon, openBrowser, photograph, setNumber, violations } from './ship'

const kPages = ['monitor', 'generate', 'lab', 'history', 'cards', 'doctor'] as const
const daemon = new Daemon()
let browser: Browser
let page: Page

async function post(path: string, body: object, method = 'POST'): Promise<unknown> {
  const answer = await fetch(daemon.url + path, { method, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
  expect(answer.status, path).toBeLessThan(300)
  return answer.json()
}
async function draw(prompt: string, more: object = {}): Promise<void> {
  const { jobId } = await post('/api/generate', { model: 'sdxl-base', width: 512, height: 512, steps: 8, prompt, ...more }) as { jobId: string }
  while ((await (await fetch(`${daemon.url}/api/jobs/${jobId}`)).json() as { endedMs: number | null }).endedMs === null) await new Promise((done) => setTimeout(done, 100))
}

beforeAll(async () => {
  await daemon.start(50)
  browser = await openBrowser()
  await draw('a lighthouse at dusk')
  await draw('a whole fleet', { steps: 12 })
  await draw('too much', { width: 1536, height: 1536, batch: 64, runAnyway: true })
  await post('/api/presets/calm%20sea', { model: 'sdxl-base', steps: 31 }, 'PUT')
})
afterAll(async () => {
  await browser.close()
  await daemon.remove()
})
// Without motion: a colour on its way to another is no fault.
beforeEach(async () => { page = await browser.newPage({ viewport: { width: 1440, height: 900 }, reducedMotion: 'reduce' }) })
afterEach(async () => { await page.close() })

async function dress(theme: string, language: string, width: number): Promise<void> {
  await page.setViewportSize({ width, height: 900 })
  await page.goto(daemon.url)
  await page.evaluate(([name, tongue]) => { localStorage.setItem('plimsoll.theme', name); localStorage.setItem('plimsoll.language', tongue) }, [theme, language] as const)
  await page.reload()
  await page.locator('.connection.open').waitFor()
}
const kReady: Record<typeof kPages[number], string> = { monitor: '.scene', generate: '.largest >> nth=4', lab: '[data-test=bound]', history: '.run >> nth=2', cards: '.cards .scene >> nth=2', doctor: 'dl.facts' }
async function turnTo(where: typeof kPages[number]): Promise<void> {
  await page.evaluate((hash) => { location.hash = hash }, `#/${where}`)
  await page.locator(kReady[where]).waitFor({ timeout: 30_000 })
}
async function expectSound(what: string): Promise<void> {
  expect(await violations(page), what).toEqual([])
  const sideways = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
  expect(sideways, `${what}: pixels beyond the edge`).toBeLessThanOrEqual(0)
}

for (const [theme, language, width] of [['light', 'en', 1440], ['dark', 'en', 1440], ['light', 'zh', 1440], ['dark', 'zh', 1440],
  ['light', 'en', 360], ['dark', 'zh', 360], ['light', 'en', 3440]] as const)
  test(`no page has a fault that axe knows: ${theme}, ${language}, ${width} pixels wide`, { timeout: 120_000 }, async () => {
    await dress(theme, language, width)
    for (const where of kPages) {
      await turnTo(where)
      await expectSound(where)
      await photograph(page, `${where}-${width}-${theme}-${language}`)
    }
  })

for (const [theme, language, width] of [['light', 'en', 360], ['dark', 'en', 1440], ['light', 'zh', 1440], ['dark', 'zh', 360]] as const)
  test(`what opens on a page has no fault either: ${theme}, ${language}, ${width} pixels wide`, { timeout: 180_000 }, async () => {
    const look = async (what: string): Promise<void> => {
      await expectSound(what)
      await photograph(page, `${what}-${width}-${theme}-${language}`)
    }
    await dress(theme, language, width)
    await turnTo('generate')
    const preset = page.locator('.pick-preset')
    await preset.selectOption('calm sea')
    const dialog = page.getByRole('dialog')
    for (const [index, what] of [[0, 'save'], [1, 'rename'], [2, 'delete']] as const) {
      await page.locator('.pick-preset ~ button').nth(index).click()
      await dialog.waitFor()
      if (what === 'save') {
        await dialog.getByRole('textbox').fill('/no name/')
        await page.keyboard.press('Enter')
        await dialog.getByRole('alert').waitFor()
      }
      await look(`dialog-${what}`)
      await page.keyboard.press('Escape')
      await dialog.waitFor({ state: 'hidden' })
      // Whoever uses keys is back where the dialog was opened.
      await expect.poll(() => page.evaluate(() => [...document.querySelectorAll('.pick-preset ~ button')].indexOf(document.activeElement as Element)), what).toBe(index)
    }
    for (const input of await page.locator('.slider input.number').all()) await setNumber(page, await input.getAttribute('aria-label') ?? '', 1e6) // the largest of each
    await page.locator('.notice.verdict.danger').waitFor({ timeout: 20_000 })
    await page.locator('.button.danger').waitFor({ timeout: 20_000 })
    for (const summary of await page.locator('summary').all()) await summary.click()
    await look('generate-far-over-the-line')
    await page.locator('input[accept=".json,.png"]').setInputFiles({ name: 'none.json', mimeType: 'application/json', buffer: Buffer.from('[]') })
    await page.getByRole('alert').first().waitFor()
    await look('generate-no-workflow')
    await turnTo('history')
    await page.locator('.run .link').first().click()
    await look('history-one-run')
    for (const index of [0, 1]) await page.locator('.run input[type=checkbox]').nth(index).check()
    await page.locator('.desk.two').waitFor()
    await look('history-two-runs')
    for (const index of [1, 2]) {
      await page.getByRole('group').getByRole('button').nth(index).click()
      await look(`history-trends-${index}`)
    }
    await page.locator('#h-text').fill('submarine')
    await page.locator('.book').waitFor({ state: 'hidden' })
    await look('history-nothing-found')
    await turnTo('cards')
    await page.locator('#card').selectOption('rtx4060')
    await page.locator('.cards .scene').nth(3).waitFor()
    await look('cards-four')
    await page.evaluate(() => { location.hash = '#/monitor' })
    await page.getByRole('alert').waitFor() // the last job ended badly
    await look('monitor-out-of-memory')
    const { jobId } = await post('/api/generate', { model: 'sdxl-base', width: 1024, height: 1024, steps: 50, prompt: 'a long way', runAnyway: true }) as { jobId: string }
    await post('/api/generate', { model: 'sdxl-base', width: 512, height: 512, steps: 8, prompt: 'waits' })
    await page.locator('.queue li').waitFor({ timeout: 20_000 })
    await page.locator('progress').waitFor()
    await look('monitor-at-work')
    for (const { jobId: one } of (await (await fetch(`${daemon.url}/api/jobs`)).json() as { jobs: { jobId: string; endedMs: number | null }[] }).jobs.filter((job) => job.endedMs === null || job.jobId === jobId))
      await fetch(`${daemon.url}/api/jobs/${one}`, { method: 'DELETE' })
    await page.locator('progress').waitFor({ state: 'hidden', timeout: 30_000 })
    await draw('too much again', { width: 1536, height: 1536, batch: 64, runAnyway: true })
  })

test('what Lighthouse asks beside axe: names, weight, order, nothing from elsewhere', async () => {
  const elsewhere: string[] = []
  const complaints: string[] = []
  const unpacked: string[] = []
  page.on('console', (message) => { if (['error', 'warning'].includes(message.type())) complaints.push(message.text()) })
  page.on('pageerror', (error) => complaints.push(String(error)))
  page.on('request', (request) => { if (!request.url().startsWith(daemon.url) && !/^(data|blob):/.test(request.url())) elsewhere.push(request.url()) })
  page.on('response', (response) => {
    const headers = response.headers()
    const packs = /javascript|css|html|json/.test(headers['content-type'] ?? '') && !response.url().includes('/api/')
    if (packs && response.status() === 200 && headers['content-encoding'] === undefined) unpacked.push(response.url())
  })
  await page.addInitScript(() => {
    const moved: { by: number; what: string[] }[] = []
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries() as unknown as { value: number; hadRecentInput: boolean; sources: { node: Element | null }[] }[])
        if (!entry.hadRecentInput) moved.push({ by: entry.value, what: entry.sources.map((source) => source.node?.outerHTML.slice(0, 80) ?? '') })
    }).observe({ type: 'layout-shift', buffered: true })
    Object.assign(window, { moved })
  })
  const titles = new Set<string>()
  for (const where of kPages) {
    await page.goto(`${daemon.url}/?${where}#/${where}`) // a load of its own
    await page.locator(kReady[where]).waitFor({ timeout: 30_000 })
    titles.add(await page.title())
    expect(await page.evaluate(() => document.documentElement.lang)).toBe('en')
    expect(await page.locator('h1').count(), `${where}: one heading of the first order`).toBe(1)
    expect(await page.locator('meta[name=description]').getAttribute('content')).toMatch(/\S{4}/)
    expect(await page.locator('meta[name=viewport]').getAttribute('content')).not.toMatch(/user-scalable|maximum-scale/)
    const moved = await page.evaluate(() => (window as unknown as { moved: { by: number; what: string[] }[] }).moved)
    const shift = moved.reduce((sum, one) => sum + one.by, 0)
    console.log(`${where}: layout shift ${shift.toFixed(3)}`)
    expect(shift, `${where}: ${JSON.stringify(moved)}`).toBeLessThan(0.1) // what Lighthouse calls good
    // Fingers find everything: 24 pixels, as WCAG 2.2 asks for targets that no sentence holds.
    await page.setViewportSize({ width: 360, height: 800 })
    const small = await page.locator('button:visible, select:visible, a.button:visible, input[type=range]:visible').evaluateAll((all) =>
      all.filter((one) => { const box = one.getBoundingClientRect(); return box.height < 24 || box.width < 24 }).map((one) => one.outerHTML.slice(0, 120)))
    expect(small, `${where}: too small for a finger`).toEqual([])
    await page.setViewportSize({ width: 1440, height: 900 })
  }
  expect(titles.size, 'a title for each page').toBe(kPages.length)
  expect(elsewhere, 'asked of others').toEqual([])
  expect(unpacked, 'sent without compression').toEqual([])
  expect(complaints).toEqual([])
})
