// SPDX-License-Identifier: Apache-2.0
// Each page and each way through, as a person takes it: the real page from the real daemon, with a simulated card.
import { readFileSync } from 'node:fs'
import type { Browser, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { Daemon, openBrowser, photograph, setNumber as setNumberOn, violations } from './ship'

const daemon = new Daemon()
let browser: Browser
let page: Page
let complaints: string[] = []

beforeAll(async () => {
  await daemon.start(50)
  browser = await openBrowser()
})
afterAll(async () => {
  await browser.close()
  await daemon.remove()
})
beforeEach(async () => {
  page = await browser.newPage({ viewport: { width: 1440, height: 900 } })
  complaints = []
  page.on('pageerror', (error) => complaints.push(String(error)))
  page.on('console', (message) => { if (message.type() === 'error' && !message.text().includes('net::ERR')) complaints.push(message.text()) })
})
afterEach(async () => {
  await page.close()
  expect(complaints, 'the browser complains').toEqual([])
})

const open = (where: string): Promise<unknown> => page.goto(`${daemon.url}/#/${where}`)
const verdict = (): ReturnType<Page['locator']> => page.locator('[data-test=verdict]')
const setNumber = (label: string, value: number): Promise<void> => setNumberOn(page, label, value)

test('a job within the line goes from the settings into the log book', async () => {
  await open('generate')
  await verdict().waitFor()
  await page.getByLabel('Prompt', { exact: true }).fill('a lighthouse at dusk')
  await setNumber('Width', 512)
  await setNumber('Height', 512)
  // At 512 x 512 little is needed; what stands above the line are weights that the loader parks.
  await expect.poll(() => verdict().textContent(), { timeout: 10_000 }).toMatch(/under the line|are needed/)
  await photograph(page, 'generate')
  await page.getByRole('button', { name: /^Generate$|Accept the plan and generate/ }).click()
  await page.getByText('The job has started').waitFor()
  await open('monitor')
  await page.getByText('a lighthouse at dusk').waitFor()
  await photograph(page, 'monitor-running')
  await page.getByText('No job is running.').waitFor({ timeout: 50_000 })
  await open('history')
  await page.getByRole('row').filter({ hasText: '512' }).first().waitFor()
  await page.getByLabel('Search in prompts').fill('lighthouse')
  await page.getByRole('button', { name: /^\d+\/\d+\/\d+/ }).first().click()
  const picture = page.getByAltText('Picture 1: a lighthouse at dusk')
  await expect.poll(() => picture.evaluate((image: HTMLImageElement) => image.naturalWidth), { timeout: 10_000 }).toBeGreaterThan(0)
  await photograph(page, 'history')
  // The search narrows the sums, too.
  const sums = page.getByRole('region', { name: 'The sums as a table' })
  await sums.waitFor()
  await page.getByLabel('Search in prompts').fill('submarine')
  await page.getByText('No such run is recorded.').first().waitFor()
  await sums.waitFor({ state: 'hidden' })
  await page.getByRole('button', { name: 'All runs' }).click()
  const fileOf = async (name: string): Promise<string> => {
    const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name }).click()])
    return readFileSync(await file.path(), 'utf8')
  }
  const lines = (await fileOf('Export CSV')).split('\r\n')
  expect(lines[0]).toContain('runId,startedMs')
  expect(lines.filter((line) => line.includes('a lighthouse at dusk'))).toHaveLength(1)
  const prompts = (await fileOf('Export JSON')).trim().split('\n').map((line) => (JSON.parse(line) as { prompt: string }).prompt)
  expect(prompts).toContain('a lighthouse at dusk')
  await page.getByRole('button', { name: 'Use these settings' }).click()
  await page.getByRole('heading', { name: 'Load a job' }).waitFor()
  expect(await page.locator('input.number[aria-label="Width"]').inputValue()).toBe('512')
})

test('settings over the line show why, and a plan that can be accepted', async () => {
  await open('generate')
  await page.getByLabel('Prompt', { exact: true }).fill('a whole fleet')
  await setNumber('Width', 1536)
  await setNumber('Height', 1536)
  await setNumber('Steps', 50)
  await expect.poll(() => page.locator('.changes').textContent(), { timeout: 10_000 }).toContain('tiles of')
  await photograph(page, 'generate-over-the-line')
  expect(await page.getByLabel('Decode in tiles', { exact: true }).isChecked()).toBe(false)
  await page.getByRole('button', { name: 'Accept the plan and generate' }).click()
  await page.getByText('its values are in the settings').waitFor()
  expect(await page.getByLabel('Decode in tiles', { exact: true }).isChecked()).toBe(true)
  await open('monitor')
  await page.getByText('a whole fleet').waitFor()
  await page.getByRole('button', { name: 'Stop the job' }).click()
  await page.getByText('No job is running.').waitFor({ timeout: 30_000 })
})

test('running anyway ends in an error that the page explains', async () => {
  await open('generate')
  await page.getByLabel('Prompt', { exact: true }).fill('too much')
  await setNumber('Width', 1536)
  await setNumber('Height', 1536)
  await setNumber('Batch', 64)
  await page.getByRole('button', { name: 'Run anyway' }).click({ timeout: 20_000 })
  await page.getByText('The job has started').waitFor()
  await open('monitor')
  await page.getByRole('alert').filter({ hasText: /memory/ }).waitFor({ timeout: 50_000 })
  await photograph(page, 'monitor-out-of-memory')
})

test('jobs that wait are listed and can leave the queue', async () => {
  const submit = (prompt: string): Promise<unknown> => page.evaluate((words) => fetch('api/generate', { method: 'POST', headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'sdxl-base', width: 1024, height: 1024, steps: 50, prompt: words, runAnyway: true }) }).then((answer) => answer.status), prompt)
  await open('monitor')
  await page.locator('.connection.open').waitFor()
  for (const prompt of ['first in line', 'second in line', 'third in line']) expect(await submit(prompt)).toBeLessThan(300)
  await page.getByText(/^\d waiting$/).waitFor()
  await page.getByRole('button', { name: 'Take out of the queue: third in line' }).click()
  await page.getByRole('button', { name: 'Take out of the queue: third in line' }).waitFor({ state: 'hidden' })
  await expect.poll(() => page.evaluate(async () => {
    const { jobs } = await (await fetch('api/jobs')).json() as { jobs: { prompt: string; state: string }[] }
    return jobs.find((job) => job.prompt === 'third in line')?.state
  })).toBe('cancelled')
  // ComfyUI's previews, while it samples.
  await expect.poll(() => page.getByAltText('Preview of the picture').evaluateAll((images: HTMLImageElement[]) => images[0]?.naturalWidth ?? 0), { timeout: 30_000, interval: 20 }).toBeGreaterThan(0)
  await page.getByText('No job is running.').waitFor({ timeout: 50_000 })
  await page.getByAltText(/Picture 1: second in line/).waitFor()
  await photograph(page, 'monitor-done')
})

test('a preset is saved, loaded, renamed and deleted', async () => {
  await open('generate')
  await setNumber('Steps', 31)
  await page.getByRole('button', { name: 'Save', exact: false }).first().click()
  await page.getByRole('dialog').getByRole('textbox').fill('calm sea')
  await page.getByRole('dialog').getByRole('button', { name: /Save/ }).click()
  await page.getByRole('dialog').waitFor({ state: 'hidden' })
  await page.reload()
  await page.locator('.pick-preset').selectOption('calm sea')
  await expect.poll(() => page.locator('input.number[aria-label="Steps"]').inputValue()).toBe('31')
  await page.getByRole('button', { name: /Rename/ }).click()
  await page.getByRole('dialog').getByRole('textbox').fill('rough sea')
  await page.getByRole('dialog').getByRole('button', { name: /Rename/ }).click()
  await expect.poll(() => page.locator('.pick-preset').textContent()).toContain('rough sea')
  await page.locator('.pick-preset').selectOption('rough sea')
  await page.getByRole('button', { name: /Delete/ }).first().click()
  await page.getByRole('dialog').getByRole('button', { name: /Delete/ }).click()
  await expect.poll(() => page.locator('.pick-preset').textContent()).not.toContain('sea')
})

test('each slider has its safe range drawn on it, in memory and in time', async () => {
  const hurried = new Daemon()
  await hurried.start(50, { MAX_DURATION_MIN: '1' })
  try {
    await page.goto(`${hurried.url}/#/generate`)
    const note = (name: string): ReturnType<Page['locator']> => page.locator('.slider').filter({ has: page.getByLabel(name, { exact: true }) }).locator('.largest, .note')
    for (const name of ['Width', 'Height', 'Batch', 'Steps', 'CFG']) await expect.poll(() => note(name).textContent(), { timeout: 20_000 }).toMatch(/safe up to \d/)
    expect(await page.locator('.slider .mark').count()).toBe(5)
    // A minute is not enough for every number of steps; how many fit is the daemon's word, and a button.
    const fitting = Number(/\d+/.exec(await note('Steps').textContent() ?? '')?.[0])
    expect(fitting).toBeGreaterThan(8)
    expect(fitting).toBeLessThan(50)
    await note('Steps').click()
    expect(await page.locator('input.number[aria-label="Steps"]').inputValue()).toBe(String(fitting))
    await expect.poll(() => verdict().textContent(), { timeout: 10_000 }).not.toContain('above the limit')
    await setNumber('Steps', fitting + 1)
    await expect.poll(() => verdict().textContent(), { timeout: 10_000 }).toContain('above the limit of')
    await photograph(page, 'generate-out-of-time')
  } finally {
    await hurried.remove()
  }
})

test('a quality spells itself out in the settings, but for what is pinned', async () => {
  await open('generate')
  const steps = page.locator('input.number[aria-label="Steps"]')
  await page.getByLabel('Quality', { exact: true }).selectOption('draft')
  await expect.poll(() => steps.inputValue()).not.toBe('20')
  const draft = Number(await steps.inputValue())
  await page.getByLabel('Quality', { exact: true }).selectOption('ultra')
  await expect.poll(async () => Number(await steps.inputValue())).toBeGreaterThan(draft)
  const ultra = await steps.inputValue()
  await page.getByRole('button', { name: 'Pin Steps' }).click()
  await page.getByLabel('Sampler', { exact: true }).selectOption('euler')
  await page.getByLabel('Quality', { exact: true }).selectOption('draft')
  await expect.poll(() => page.getByLabel('Sampler', { exact: true }).inputValue()).not.toBe('euler')
  expect(await steps.inputValue()).toBe(ultra)
})

test('a dropped workflow is forecast as it is', async () => {
  await open('generate')
  const workflow = { 4: { class_type: 'CheckpointLoaderSimple', inputs: { ckpt_name: 'sd_xl_base_1.0.safetensors' } },
    5: { class_type: 'EmptyLatentImage', inputs: { width: 768, height: 768, batch_size: 1 } },
    6: { class_type: 'CLIPTextEncode', inputs: { text: 'x', clip: ['4', 1] } },
    3: { class_type: 'KSampler', inputs: { seed: 1, steps: 20, cfg: 7, sampler_name: 'euler', scheduler: 'normal', denoise: 1, model: ['4', 0],
      positive: ['6', 0], negative: ['6', 0], latent_image: ['5', 0] } },
    8: { class_type: 'VAEDecode', inputs: { samples: ['3', 0], vae: ['4', 2] } },
    9: { class_type: 'SaveImage', inputs: { images: ['8', 0], filename_prefix: 'x' } } }
  await page.locator('input[accept=".json,.png"]').setInputFiles({ name: 'mine.json', mimeType: 'application/json', buffer: Buffer.from(JSON.stringify(workflow)) })
  await page.getByText('Forecast for mine.json').waitFor()
  await page.getByText('KSampler').first().waitFor()
  await photograph(page, 'generate-workflow')
})

test('cards are compared and the doctor speaks', async () => {
  await open('cards')
  const rows = page.locator('tbody tr')
  await expect.poll(() => rows.filter({ hasText: 'GiB' }).filter({ hasText: /\d s$/ }).count(), { timeout: 10_000 }).toBe(3)
  await page.locator('#card').selectOption('rtx4060')
  await rows.filter({ hasText: '4060' }).filter({ hasText: /\d s$/ }).waitFor()
  const linesOf = async (): Promise<string[]> => (await rows.locator('td:nth-child(4)').allTextContents())
  expect(new Set(await linesOf()).size).toBe(4) // 6, 8, 12 and 24 GB, each with its own line
  await page.locator('#card-line').selectOption('mine')
  await expect.poll(async () => [...new Set(await linesOf())], { timeout: 10_000 }).toEqual(['4.25 GiB'])
  await page.getByRole('button', { name: /Remove .*4060/ }).click()
  expect(await rows.count()).toBe(3)
  await photograph(page, 'cards')
  await open('doctor')
  await page.getByText('0.3.64').first().waitFor({ timeout: 20_000 })
  await photograph(page, 'doctor')
})

test('the page finds the daemon again after a restart, and nothing is there twice', async () => {
  // Every event stream that the page opens is remembered, and what came through them.
  await page.addInitScript(() => {
    const heard: string[] = []
    const opened: EventSource[] = []
    const Real = window.EventSource
    window.EventSource = class extends Real {
      constructor(url: string | URL) {
        super(url)
        opened.push(this)
        this.addEventListener('telemetry', (event) => heard.push((event as MessageEvent<string>).data))
      }
    }
    Object.assign(window, { heard, opened })
  })
  await open('generate')
  await page.getByLabel('Prompt', { exact: true }).fill('across the restart')
  await setNumber('Width', 512)
  await page.getByRole('button', { name: /^Generate$|Accept the plan and generate/ }).click({ timeout: 20_000 })
  await page.getByText('The job is done.').waitFor({ timeout: 40_000 })
  await page.evaluate(() => { location.hash = '#/monitor' })
  await page.locator('.connection.open').waitFor()
  await daemon.stop()
  await page.locator('.connection.lost, .connection.connecting').waitFor()
  await daemon.start(50)
  await page.locator('.connection.open').waitFor({ timeout: 30_000 })
  const before = await page.evaluate(() => (window as unknown as { heard: string[] }).heard.length)
  await expect.poll(() => page.evaluate(() => (window as unknown as { heard: string[] }).heard.length), { timeout: 30_000 }).toBeGreaterThan(before)
  const streams = await page.evaluate(() => (window as unknown as { opened: EventSource[] }).opened.filter((one) => one.readyState !== 2).length)
  expect(streams, 'open event streams').toBe(1)
  const times = await page.evaluate(() => (window as unknown as { heard: string[] }).heard.map((text) => (JSON.parse(text) as { atMs: number }).atMs))
  expect(times).toEqual([...new Set(times)].sort((a, b) => a - b))
  await page.evaluate(() => { location.hash = '#/history' })
  await page.getByRole('row').filter({ hasText: 'across the restart' }).first().waitFor()
  expect(await page.getByRole('row').filter({ hasText: 'across the restart' }).count()).toBe(1)
})

test('a daemon with a token lets nobody in without it, and everybody with it', async () => {
  const secret = 'a-token-of-the-browser-test-0123456789'
  const guarded = new Daemon()
  await guarded.start(50, { PLIMSOLL_TOKEN: secret })
  try {
    await page.goto(`${guarded.url}/#/doctor`)
    await page.getByRole('heading', { name: 'This daemon asks for its token' }).waitFor()
    expect(await page.getByText('Settings in force').count()).toBe(0)
    expect(await violations(page)).toEqual([])
    await photograph(page, 'token')
    await page.getByLabel('Token').fill('not-the-token-of-this-daemon')
    await page.keyboard.press('Enter')
    await page.getByRole('alert').filter({ hasText: 'not the token' }).waitFor()
    await page.getByLabel('Token').fill(secret)
    await page.keyboard.press('Enter')
    await page.getByText('Settings in force').waitFor({ timeout: 20_000 })
    await page.locator('.connection.open').waitFor() // the event stream, which carries no header
    expect(page.url()).not.toContain(secret)
    expect(await page.evaluate(() => JSON.stringify([document.cookie, { ...localStorage }, { ...sessionStorage }]))).not.toContain('browser-test')
    await page.reload()
    await page.getByText('Settings in force').waitFor({ timeout: 20_000 })
    complaints = complaints.filter((text) => !text.includes('401')) // what the browser says of an answer that is meant
  } finally {
    await guarded.remove()
  }
})

test('Generate can be walked with the keyboard alone', async () => {
  await open('generate')
  await verdict().waitFor()
  const here = (): Promise<string> => page.evaluate(() => {
    const at = document.activeElement
    const named = at?.id ? document.querySelector(`label[for="${at.id}"]`)?.textContent : ''
    return `${at?.tagName} ${at?.getAttribute('type') ?? ''} ${at?.getAttribute('aria-label') ?? ''} ${named ?? ''} ${at?.textContent ?? ''}`.replace(/\s+/g, ' ')
  })
  const seen: string[] = []
  async function tabTo(wanted: RegExp): Promise<void> {
    for (let presses = 0; presses < 60; presses++) {
      await page.keyboard.press('Tab')
      seen.push(await here())
      const ringed = await page.evaluate(() => document.activeElement?.matches(':focus-visible') ?? false)
      expect(ringed, seen.at(-1)).toBe(true)
      if (wanted.test(seen.at(-1) ?? '')) return
    }
    throw new Error(`${wanted} was not reached: ${seen.join(' | ')}`)
  }
  await page.keyboard.press('Tab')
  expect(await here()).toContain('Skip to the content')
  await page.keyboard.press('Enter')
  await tabTo(/TEXTAREA.*Prompt/)
  await page.keyboard.type('by keys alone')
  await tabTo(/INPUT range.*Width/)
  await page.keyboard.press('Home')
  expect(await page.locator('input.number[aria-label="Width"]').inputValue()).toBe('512')
  await page.keyboard.press('ArrowRight')
  expect(await page.locator('input.number[aria-label="Width"]').inputValue()).toBe('520')
  await tabTo(/BUTTON.*Pin Height/)
  await page.keyboard.press('Space')
  expect(await page.getByRole('button', { name: 'Height is pinned' }).count()).toBe(1)
  await tabTo(/^BUTTON button Generate$|Accept the plan and generate/)
  await page.keyboard.press('Enter')
  await page.getByText('The job is done.').waitFor({ timeout: 40_000 })
})

test('presets go out as a file and come back', async () => {
  await open('generate')
  await setNumber('Steps', 17)
  await page.getByRole('button', { name: 'Save' }).click()
  await page.getByRole('dialog').getByRole('textbox').fill('out and back')
  await page.keyboard.press('Enter')
  await page.getByRole('dialog').waitFor({ state: 'hidden' })
  const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Export' }).click()])
  const content = readFileSync(await file.path())
  await page.getByRole('button', { name: 'Delete' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click()
  await expect.poll(() => page.locator('.pick-preset').textContent()).not.toContain('out and back')
  const chooser = page.locator('input[accept=".json,application/json"]')
  await chooser.setInputFiles({ name: 'presets.json', mimeType: 'application/json', buffer: Buffer.from('{"presets":[{"name":1}]}') })
  await page.getByRole('alert').filter({ hasText: 'holds no presets' }).waitFor()
  await chooser.setInputFiles({ name: 'presets.json', mimeType: 'application/json', buffer: content })
  await expect.poll(() => page.locator('.pick-preset').textContent()).toContain('out and back')
  await setNumber('Steps', 40)
  await page.locator('.pick-preset').selectOption('out and back')
  await expect.poll(() => page.locator('input.number[aria-label="Steps"]').inputValue()).toBe('17')
  expect(await page.locator('.pick-preset').inputValue()).toBe('out and back')
})

test('a picture that ComfyUI saved is forecast when it is dropped, and explained node by node', async () => {
  await open('generate')
  await page.getByLabel('Prompt', { exact: true }).fill('a picture to drop')
  await setNumber('Width', 640)
  await page.getByRole('button', { name: /^Generate$|Accept the plan and generate/ }).click({ timeout: 20_000 })
  await page.getByText('The job is done.').waitFor({ timeout: 40_000 })
  await page.evaluate(async () => {
    const { runs } = await (await fetch('api/history?limit=1')).json() as { runs: { runId: string }[] }
    const saved = await (await fetch(`api/history/${runs[0]?.runId}/images/0`)).blob()
    const dataTransfer = new DataTransfer()
    dataTransfer.items.add(new File([saved], 'saved.png', { type: 'image/png' }))
    document.querySelector('.drop')?.dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }))
  })
  await page.getByText('Forecast for saved.png').waitFor()
  const sample = page.locator('details').filter({ hasText: 'KSampler' }).first()
  await sample.locator('summary').click()
  await sample.getByText('Largest tensors at the peak').waitFor()
  await photograph(page, 'generate-picture')
})
