// SPDX-License-Identifier: Apache-2.0
// Goal: whoever reads Chinese meets no English sentence, also where things go wrong: jobs that failed, were refused or put back, refused
// requests, warnings, a plan, a test's report. Method: a daemon in which all of that has happened; every page is walked in Chinese and
// every text on it looked at. What may stay is listed here: names, prompts, and the words of ComfyUI itself.
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Daemon, englishIn, englishOn, openBrowser, photograph, setNumber, violations } from './ship'

const kPrompts = ['a lighthouse at dusk in the fog', 'far too much of it all'] as const
const kAllowed = [
  ...kPrompts,
  /Allocation on device[^）]*/, // ComfyUI's own error
  /plimsoll(?: [a-z-]+)+/, // a command to type
  /Authorization: Bearer TOKEN/,
  /(?:NVIDIA|AMD|Intel) [^·]*/, // a card's name
]
const daemon = new Daemon()
let browser: Browser
let page: Page

async function call<T>(path: string, body?: object, method = body ? 'POST' : 'GET'): Promise<T> {
  const answer = await fetch(daemon.url + path, { method, headers: { 'content-type': 'application/json' }, ...(body ? { body: JSON.stringify(body) } : {}) })
  return await answer.json() as T
}
const gateway = (path: string, body: object, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(`http://127.0.0.1:${daemon.gatewayPort}${path}`, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) })
async function send(client: string, seed: number, side = 512, headers: Record<string, string> = {}): Promise<number> {
  const prompt = { 4: { class_type: 'CheckpointLoaderSimple', inputs: { ckpt_name: 'sd_xl_base_1.0.safetensors' } },
    5: { class_type: 'EmptyLatentImage', inputs: { width: side, height: side, batch_size: 1 } }, 6: { class_type: 'CLIPTextEncode', inputs: { text: kPrompts[0], clip: ['4', 1] } },
    3: { class_type: 'KSampler', inputs: { seed, steps: 8, cfg: 7, sampler_name: 'euler', scheduler: 'normal', denoise: 1, model: ['4', 0], positive: ['6', 0], negative: ['6', 0], latent_image: ['5', 0] } },
    8: { class_type: 'VAEDecode', inputs: { samples: ['3', 0], vae: ['4', 2] } }, 9: { class_type: 'SaveImage', inputs: { images: ['8', 0], filename_prefix: 'x' } } }
  const answer = await gateway('/prompt', { prompt, client_id: client }, headers)
  await answer.text()
  return answer.status
}
interface Held { clientId: string; state: string; why: string | null; events: string[] }
const heldOf = async (client: string): Promise<Held | undefined> => (await call<{ jobs: Held[] }>('/api/gateway')).jobs.find((job) => job.clientId === client)
async function draw(prompt: string, more: object): Promise<void> {
  const { jobId } = await call<{ jobId: string }>('/api/generate', { model: 'sdxl-base', width: 512, height: 512, steps: 8, prompt, ...more })
  await expect.poll(async () => (await call<{ endedMs: number | null }>(`/api/jobs/${jobId}`)).endedMs, { timeout: 60_000 }).not.toBeNull()
}
const open = async (where: string, ready: string): Promise<void> => {
  await page.evaluate((hash) => { location.hash = hash }, `#/${where}`)
  await page.locator(ready).first().waitFor({ timeout: 30_000 })
}
async function expectNoEnglish(what: string, prompts: readonly string[] = []): Promise<void> {
  const english = await englishOn(page, [...prompts, ...kAllowed]) // before the picture, which closes what hangs over the page
  await photograph(page, `chinese-${what}`)
  expect(english, what).toEqual([])
}

beforeAll(async () => {
  await daemon.start(50)
  browser = await openBrowser()
  page = await browser.newPage({ viewport: { width: 1440, height: 900 }, reducedMotion: 'reduce', locale: 'en-US' }) // the browser speaks English, the page Chinese
  await page.goto(daemon.url)
  await page.evaluate(() => { localStorage.setItem('plimsoll.language', 'zh') })
  await page.reload()
  await page.locator('.connection.open').waitFor()
})
afterAll(async () => {
  await browser.close()
  await daemon.remove()
})

test('the look for English finds a sentence and passes over names', () => {
  expect(englishIn(['the peak is under the line', '显卡 NVIDIA GeForce RTX 3050 6GB', 'sd_xl_base_1.0.safetensors', '采样器 euler', kPrompts[0]], kAllowed)).toEqual(['the peak is under the line'])
})
test('jobs of other clients that were put back, failed and refused, and the warnings of them', { timeout: 120_000 }, async () => {
  expect(await send('krita', 1)).toBe(200)
  await expect.poll(async () => (await heldOf('krita'))?.state, { timeout: 40_000 }).toBe('done')
  await gateway('/plimsoll/faults', { oom_at_node: '3', oom_times: 50 })
  expect(await send('script', 2)).toBe(200)
  await page.locator('.stack > .notice.caution[role=status]').waitFor({ timeout: 60_000 }) // a warning tells of it
  await expectNoEnglish('monitor-warned')
  await expect.poll(async () => (await heldOf('script'))?.state, { timeout: 90_000 }).toBe('failed')
  const failed = await heldOf('script')
  expect(failed?.why).toMatch(/out of memory/)
  expect(failed?.events.length).toBeGreaterThan(0)
  // The same form again: it met its wall, and nothing may be changed.
  expect(await send('again', 2, 512, { 'X-Plimsoll-Policy': 'enforce', 'X-Plimsoll-Pin': 'vae,size,batch,steps,precision' })).toBe(400)
  expect(await send('stubborn', 3, 2048, { 'X-Plimsoll-Policy': 'enforce', 'X-Plimsoll-Pin': 'vae,size,batch' })).toBe(400)
  await gateway('/plimsoll/faults', {})
  await page.locator('.gateway li').filter({ hasText: 'stubborn' }).waitFor({ timeout: 20_000 })
  await page.locator('.gateway li').filter({ hasText: 'script' }).getByText('显存不足').first().waitFor()
  await expectNoEnglish('monitor-gateway')
  expect(await violations(page)).toEqual([])
})
test('the log book with runs that failed, their sheets, trends, and the days to filter by', { timeout: 120_000 }, async () => {
  await draw(kPrompts[0], {})
  await draw(kPrompts[1], { width: 1536, height: 1536, batch: 64, runAnyway: true })
  await page.locator('.job .notice.danger').waitFor({ timeout: 20_000 })
  await expectNoEnglish('monitor-failed')
  await open('history', '.run')
  for (const state of ['.out_of_memory', '.cancelled', '.done']) {
    const row = page.locator('.run').filter({ has: page.locator(`.state${state}`) }).first()
    if (await row.count() === 0) continue
    await row.locator('.link').click()
    await page.locator('.sheets .sheet').waitFor()
    await expectNoEnglish(`history${state.replace('.', '-')}`)
    await row.locator('.link').click()
  }
  expect(await page.locator('.state.out_of_memory').count()).toBeGreaterThan(0)
  const from = page.getByLabel('从', { exact: true })
  expect(await from.getAttribute('placeholder')).toBe('年/月/日')
  await page.locator('.day-open').first().click()
  await page.locator('.day-sheet').waitFor()
  expect(await violations(page)).toEqual([])
  await expectNoEnglish('history-days')
  await page.keyboard.press('Escape')
  await from.fill('2026/01/05')
  await from.press('Tab')
  await expect.poll(() => page.locator('.run').count()).toBeGreaterThan(0)
})
test('a plan with its prices, pinned settings that no plan saves, and a file that is no workflow', { timeout: 90_000 }, async () => {
  await open('generate', '.largest >> nth=4')
  await setNumber(page, '宽度', 1536)
  await setNumber(page, '高度', 1536)
  await page.locator('.changes li').first().waitFor({ timeout: 20_000 })
  for (const summary of await page.locator('summary').all()) await summary.click()
  await expectNoEnglish('generate-plan')
  for (const field of ['宽度', '高度', '步数', '批量']) await page.getByRole('button', { name: `固定${field}` }).click()
  await setNumber(page, '批量', 64)
  await page.getByText('若仍然运行：').waitFor({ timeout: 20_000 })
  await expectNoEnglish('generate-pinned')
  for (const [name, text] of [['none.json', '{}'], ['odd.json', '{"1":{"inputs":{}}}']] as const) {
    await page.locator('input[accept=".json,.png"]').setInputFiles({ name, mimeType: 'application/json', buffer: Buffer.from(text) })
    await page.getByRole('alert').first().waitFor({ timeout: 20_000 })
    await expectNoEnglish(`generate-${name}`)
    const back = page.getByRole('button', { name: '回到设置' }) // what is no workflow at all was not taken
    if (await back.count() > 0) await back.click()
  }
})
test('the cards and the doctor', { timeout: 90_000 }, async () => {
  await open('cards', '.cards .scene >> nth=2')
  await expectNoEnglish('cards')
  await open('doctor', 'dl.facts')
  for (const summary of await page.locator('summary').all()) await summary.click()
  await expectNoEnglish('doctor')
})
interface Session { sessionId: string; state: string; prompts: string[]; drawn: number }
test('the lab, a test that is not there, and a report in Chinese', { timeout: 240_000 }, async () => {
  await open('lab/00000000-0000-4000-8000-000000000000', '[data-test=bound]')
  const { prompts, negative } = await call<{ prompts: string[]; negative: string }>('/api/quality-test/plan', { model: 'sdxl-base', testType: 'quick' })
  await expectNoEnglish('lab-not-there', prompts)
  const { sessionId } = await call<Session>('/api/quality-test', { model: 'sdxl-base', testType: 'quick', prompts: [kPrompts[0]] })
  const now = (): Promise<Session> => call<Session>(`/api/quality-test?sessionId=${sessionId}`)
  await expect.poll(async () => (await now()).drawn, { timeout: 180_000 }).toBeGreaterThan(2)
  await call(`/api/quality-test/${sessionId}/pause`, {})
  await open(`lab/${sessionId}`, '.cell.drawn')
  await page.locator('.cell.drawn').first().click()
  await page.locator('#lab-compare').waitFor()
  await expectNoEnglish('lab', prompts)
  const link = page.getByRole('link', { name: '导出报告' })
  const address = await link.getAttribute('href') ?? ''
  const report = await browser.newPage()
  await report.setContent(await (await fetch(new URL(address, daemon.url))).text())
  expect(await report.evaluate(() => document.documentElement.lang)).toBe('zh')
  expect(await englishOn(report, [negative, ...kAllowed])).toEqual([])
  expect(await violations(report)).toEqual([])
  await photograph(report, 'chinese-report')
  await report.close()
})
