// SPDX-License-Identifier: Apache-2.0
// Goal: the quality lab as a person uses it: begin, watch, pause, read the answer, look at what was lost, vote, report. Method: the real
// page and daemon with a simulated card, whose pictures of few steps are worse by design.
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Browser, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { Daemon, openBrowser, photograph, violations } from './ship'

interface Session { sessionId: string; state: string; why: string | null; answer: { chosen: number | null; settings: { steps: number } | null }; reference: number; pictures: { candidate: number; block: number; state: string; mapUrl: string | null }[] }
const daemon = new Daemon()
let browser: Browser
let page: Page
let complaints: string[] = []
let finished = ''

const ask = async <T>(path: string): Promise<T> => await (await fetch(daemon.url + path)).json() as T
const sessionOf = (id: string): Promise<Session> => ask(`/api/quality-test?sessionId=${id}`)
const idHere = (): string => /#\/lab\/(.+)$/.exec(page.url())?.[1] ?? ''
const state = (): ReturnType<Page['locator']> => page.locator('[data-test=lab-state]')

beforeAll(async () => {
  await daemon.start(500) // a picture of 25 s takes 50 ms
  browser = await openBrowser()
})
afterAll(async () => {
  await browser.close()
  await daemon.remove()
})
beforeEach(async () => {
  page = await browser.newPage({ viewport: { width: 1440, height: 900 }, reducedMotion: 'reduce' })
  complaints = []
  page.on('pageerror', (error) => complaints.push(String(error)))
  page.on('console', (message) => { if (message.type() === 'error' && !message.text().includes('net::ERR')) complaints.push(message.text()) })
})
afterEach(async () => {
  await page.close()
  expect(complaints, 'the browser complains').toEqual([])
})

test('a test says what it takes, draws, pauses, goes on and answers', { timeout: 180_000 }, async () => {
  await page.goto(`${daemon.url}/#/lab`)
  await page.getByLabel('Model', { exact: true }).selectOption('3d-cartoon')
  await page.getByLabel('my own').check()
  expect(await page.getByRole('button', { name: 'Start the test' }).isDisabled()).toBe(true)
  await page.getByLabel('One prompt on each line').fill('a <b>toy</b> train\na fox in the snow')
  const bound = page.locator('[data-test=bound]')
  await expect.poll(() => bound.textContent(), { timeout: 20_000 }).toMatch(/at most \d+.*at most .*(s|min).*(MiB|GiB)/s)
  await expect.poll(() => bound.textContent()).toContain('2 prompts')
  await photograph(page, 'lab-begin')
  await page.getByRole('button', { name: 'Start the test' }).click()
  await expect.poll(idHere, { timeout: 20_000 }).not.toBe('')
  finished = idHere()
  await expect.poll(() => page.locator('.cell.drawn').count(), { timeout: 60_000 }).toBeGreaterThan(2)
  const small = page.locator('.cell.drawn img').first()
  await expect.poll(() => small.evaluate((image: HTMLImageElement) => image.naturalWidth), { timeout: 10_000 }).toBe(160)
  await page.getByRole('button', { name: 'Pause' }).click()
  await expect.poll(() => state().textContent(), { timeout: 20_000 }).toContain('paused')
  await photograph(page, 'lab-paused')
  await page.getByRole('button', { name: 'Go on' }).click()
  await expect.poll(() => state().textContent(), { timeout: 120_000, interval: 500 }).toContain('done')
  const session = await sessionOf(finished)
  expect(session.answer.chosen, session.why ?? '').not.toBeNull()
  await expect.poll(() => page.locator('[data-test=lab-answer]').textContent()).toMatch(/steps, CFG/)
  await page.locator('tr.chosen').first().waitFor()
  await page.evaluate(() => { scrollTo(0, 0) })
  await photograph(page, 'lab-done')
})

test('the plot shows a picture for each point, by pointer and by key', async () => {
  await page.goto(`${daemon.url}/#/lab/${finished}`)
  const points = page.locator('g.point')
  await points.first().waitFor({ timeout: 20_000 })
  expect(await points.count()).toBeGreaterThan(1)
  const named = async (): Promise<string> => await page.locator('.plot figcaption strong').textContent() ?? ''
  await points.nth(0).focus()
  const first = await named()
  await points.nth(1).locator('circle').hover()
  expect(await named()).not.toBe(first)
  await expect.poll(() => page.locator('.plot figure img').evaluate((image: HTMLImageElement) => image.naturalWidth)).toBe(384)
  await points.nth(1).focus()
  await page.keyboard.press('Enter')
  await page.locator('#lab-compare').waitFor()
})

test('a picture is laid over its reference, with what differs and the place it lost for', async () => {
  await page.goto(`${daemon.url}/#/lab/${finished}`)
  const { pictures } = await sessionOf(finished)
  const lost = pictures.find((one) => one.mapUrl !== null)
  expect(lost).toBeDefined()
  // By keys alone: into the grid, to the second row, open.
  await page.locator('.cell[tabindex="0"]').focus()
  await page.keyboard.press('ArrowDown')
  expect(await page.evaluate(() => document.activeElement?.getAttribute('aria-label'))).toMatch(/prompt 1, seed \d+, drawn/)
  await page.keyboard.press('Enter')
  await page.locator('[data-test=lab-mark]').waitFor({ timeout: 20_000 })
  expect(await page.evaluate(() => document.activeElement?.id)).toBe('lab-compare')
  const slide = page.getByRole('slider', { name: /A is the reference/ })
  await slide.focus()
  await page.keyboard.press('Home')
  const clip = (): Promise<string> => page.locator('.stage .over').evaluate((image: HTMLElement) => image.style.clipPath)
  expect(await clip()).toContain('100%')
  await page.keyboard.press('End')
  expect(await clip()).not.toContain('100%')
  await page.keyboard.press('ArrowLeft')
  expect(await slide.inputValue()).toBe('99')
  await slide.fill('35')
  await expect.poll(() => page.locator('.stage img').first().evaluate((image: HTMLImageElement) => image.naturalWidth)).toBeGreaterThan(256)
  if (await page.locator('[data-test=lab-place]').count()) {
    const inside = await page.evaluate(() => {
      const place = document.querySelector('[data-test=lab-place]')?.getBoundingClientRect()
      const stage = document.querySelector('.stage')?.getBoundingClientRect()
      return place && stage ? place.left >= stage.left - 1 && place.right <= stage.right + 1 && place.width > 8 : false
    })
    expect(inside).toBe(true)
  }
  await photograph(page, 'lab-compare')
  await page.getByLabel('show what differs').check()
  await expect.poll(() => page.getByAltText('The picture in grey').evaluate((image: HTMLImageElement) => image.naturalWidth)).toBeGreaterThan(256)
  await slide.fill('0')
  await photograph(page, 'lab-map')
  await page.getByRole('button', { name: '4×' }).click()
  expect(await page.locator('.view').evaluate((view) => view.scrollWidth / view.clientWidth)).toBeGreaterThan(3)
  await page.getByRole('button', { name: 'Close the picture' }).click()
  expect(await page.locator('#lab-compare').count()).toBe(0)
  // Back where it was opened, and again by keys.
  expect(await page.evaluate(() => document.activeElement?.classList.contains('cell'))).toBe(true)
  await page.keyboard.press('Enter')
  await page.locator('#lab-compare').waitFor()
  await page.keyboard.press('Escape')
  await page.locator('#lab-compare').waitFor({ state: 'hidden' })
})

test('votes are blind, by keys, and say when they are too few', async () => {
  await page.goto(`${daemon.url}/#/lab/${finished}`)
  await page.getByRole('button', { name: 'Vote', exact: true }).click()
  const figures = page.locator('[aria-labelledby=lab-votes] figure')
  await figures.nth(1).waitFor()
  for (const text of await figures.allTextContents()) expect(text).not.toMatch(/#|steps|CFG/)
  await photograph(page, 'lab-vote')
  const count = page.locator('[data-test=lab-votes]')
  const isOpen = (): Promise<boolean> => figures.getByRole('button').first().isEnabled()
  for (const [key, votes] of [['1', 1], ['0', 2], ['2', 3]] as const) {
    // The count comes before the next pair, and no vote is taken for a pair that is not there yet.
    await expect.poll(isOpen, { timeout: 10_000 }).toBe(true)
    await page.keyboard.press(key)
    await expect.poll(() => count.textContent(), { timeout: 10_000 }).toContain(`${votes} votes`)
  }
  expect(await count.textContent()).toContain('Not enough votes')
  // Typing a number elsewhere is no vote.
  await page.getByRole('button', { name: 'Begin another' }).click()
  await page.getByLabel('Minutes of drawing at most').fill('120')
  await expect.poll(() => page.locator('[data-test=bound]').textContent(), { timeout: 20_000 }).toContain('2 h 00 min')
  expect(await count.textContent()).toContain('3 votes')
  const { ballots } = await ask<{ ballots: { voteId: string; preferred: string }[] }>(`/api/quality-test/${finished}/ballots`)
  expect(ballots.map((one) => one.preferred)).toEqual(['left', 'neither', 'right'])
  // As files: pairs out, judged, in again; twice counts once.
  const { pairs } = await ask<{ pairs: object[] }>(`/api/quality-test/${finished}/pairs?count=40`)
  const judged = Buffer.from(JSON.stringify({ pairs: pairs.map((pair, index) => ({ ...pair, preferred: index % 4 ? 'left' : null })) }))
  const votes = 3 + pairs.filter((_, index) => index % 4).length
  for (let turn = 0; turn < 2; turn++) {
    await page.locator('input[type=file]').setInputFiles({ name: 'pairs.json', mimeType: 'application/json', buffer: judged })
    await expect.poll(() => count.textContent(), { timeout: 20_000 }).toContain(`${votes} votes`)
  }
  await page.getByRole('region', { name: 'What the votes say' }).waitFor()
  await page.locator('input[type=file]').setInputFiles({ name: 'other.json', mimeType: 'application/json', buffer: Buffer.from('{}') })
  await page.getByRole('alert').filter({ hasText: 'is no file of votes' }).waitFor()
  await photograph(page, 'lab-votes')
})

test('the report opens from the disk, with its pictures and nothing from elsewhere', async () => {
  await page.goto(`${daemon.url}/#/lab/${finished}`)
  const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'Report as a file' }).click()])
  expect(file.suggestedFilename()).toBe(`plimsoll-quality-${finished.slice(0, 8)}.html`)
  const folder = mkdtempSync(join(tmpdir(), 'plimsoll-report-'))
  try {
    copyFileSync(await file.path(), join(folder, 'report.html'))
    const context = await browser.newContext({ offline: true, reducedMotion: 'reduce' })
    const paper = await context.newPage()
    const asked: string[] = []
    paper.on('request', (request) => { if (!/^(file|data):/.test(request.url())) asked.push(request.url()) })
    await paper.goto(pathToFileURL(join(folder, 'report.html')).href)
    expect(await paper.title()).toContain('3d-cartoon')
    const widths = await paper.locator('img').evaluateAll((images: HTMLImageElement[]) => images.map((image) => image.naturalWidth))
    expect(widths.length).toBeGreaterThan(6)
    expect(Math.min(...widths)).toBeGreaterThan(100)
    expect(await paper.getByText('a <b>toy</b> train').count()).toBeGreaterThan(0)
    expect(asked).toEqual([])
    await photograph(paper, 'lab-report')
    await paper.emulateMedia({ media: 'print' })
    await photograph(paper, 'lab-report-print')
    await context.close()
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('the answer goes into Generate, and a test that does not exist is explained', async () => {
  await page.goto(`${daemon.url}/#/lab/${finished}`)
  const { answer } = await sessionOf(finished)
  await page.getByRole('button', { name: 'Use these settings', exact: true }).click()
  await page.getByRole('heading', { name: 'Load a job' }).waitFor()
  expect(await page.locator('input.number[aria-label="Steps"]').inputValue()).toBe(String(answer.settings?.steps))
  expect(await page.getByLabel('Model', { exact: true }).inputValue()).toBe('3d-cartoon')
  await page.goto(`${daemon.url}/#/lab/00000000-0000-4000-8000-000000000000`)
  await page.getByRole('alert').filter({ hasText: 'There is no test 00000000' }).waitFor()
  await page.getByRole('link', { name: /3d-cartoon/ }).first().click()
  await page.locator('[data-test=lab-answer]').waitFor()
  complaints = complaints.filter((text) => !text.includes('404')) // what the browser says of an answer that is meant
})

for (const [theme, language, width] of [['light', 'en', 1440], ['dark', 'en', 1440], ['light', 'zh', 1440], ['dark', 'zh', 360], ['light', 'en', 360], ['dark', 'en', 3440]] as const)
  test(`no fault that axe knows in the lab: ${theme}, ${language}, ${width} pixels wide`, { timeout: 120_000 }, async () => {
    await page.setViewportSize({ width, height: 900 })
    await page.goto(daemon.url)
    await page.evaluate(([name, tongue]) => { localStorage.setItem('plimsoll.theme', name); localStorage.setItem('plimsoll.language', tongue) }, [theme, language] as const)
    await page.goto(`${daemon.url}/#/lab/${finished}`)
    await page.reload()
    await page.locator('g.point').first().waitFor({ timeout: 30_000 })
    await page.locator('[aria-labelledby=lab-begin] header button').click()
    await page.locator('[data-test=bound]').waitFor({ timeout: 20_000 })
    await page.locator('.cell.drawn').nth(1).click()
    await page.locator('[data-test=lab-mark], .stage').first().waitFor()
    await page.locator('[aria-labelledby=lab-votes] .button.primary').click()
    await page.locator('[aria-labelledby=lab-votes] figure').nth(1).waitFor()
    await photograph(page, `lab-${theme}-${language}-${width}`)
    expect(await violations(page)).toEqual([])
    expect(await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth), 'pixels beyond the edge').toBeLessThanOrEqual(0)
  })
