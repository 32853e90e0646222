// SPDX-License-Identifier: Apache-2.0
// Goal: everything that the page shows can be read in Chinese; what is left in English is a name or somebody else's words. Method:
// each page in Chinese, from the real daemon, with settings that make it say much; the texts on it are looked through for English.
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Daemon, openBrowser, photograph, setNumber, violations } from './ship'

const daemon = new Daemon()
let browser: Browser
let page: Page

beforeAll(async () => {
  await daemon.start(50)
  browser = await openBrowser()
  page = await browser.newPage({ viewport: { width: 1440, height: 900 }, reducedMotion: 'reduce', locale: 'zh-CN' })
})
afterAll(async () => {
  await browser.close()
  await daemon.remove()
})

// Three English words in a row are a sentence; names, numbers, files and code are not. What stands in <code> is code.
async function englishOn(names: readonly string[] = []): Promise<string[]> {
  const texts = await page.evaluate(() => {
    const found: string[] = []
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const parent = node.parentElement
      if (!parent || parent.closest('code, script, style, svg, option, .words, .prompt')) continue
      found.push(node.textContent?.trim() ?? '')
    }
    for (const element of document.querySelectorAll('[aria-label], [title]')) found.push(element.getAttribute('aria-label') ?? '', element.getAttribute('title') ?? '')
    return found
  })
  return [...new Set(texts)].filter((text) => !names.includes(text)).filter((text) => /(?:^|[\s:,;(])[A-Za-z]?[a-z]{2,} [a-z]{2,} [a-z]{2,}/.test(text))
}
const open = async (where: string, heading: string): Promise<void> => {
  await page.goto(`${daemon.url}/#/${where}`)
  await page.getByRole('heading', { name: heading }).waitFor()
}

test('the pattern knows English when it stands there', async () => {
  await page.goto(`${daemon.url}/#/generate`)
  await page.getByLabel('语言').selectOption('en')
  await page.getByRole('heading', { name: 'Load a job' }).waitFor()
  expect((await englishOn()).length).toBeGreaterThan(0)
  await page.getByLabel('Language').selectOption('zh')
})
test('the plan, its prices and the reasons of every phase', async () => {
  await open('generate', '装载任务')
  await setNumber(page, '宽度', 1536)
  await setNumber(page, '高度', 1536)
  await page.locator('.changes li').first().waitFor({ timeout: 20_000 })
  await page.locator('.score').waitFor()
  for (const summary of await page.locator('.phases summary, .sheet > details > summary').all()) await summary.click()
  await page.locator('.phases details[open] ul li').first().waitFor()
  expect(await englishOn()).toEqual([])
  expect(await violations(page)).toEqual([])
  await photograph(page, 'generate-zh')
})
test('pinned settings that no plan saves, and what happens anyway', async () => {
  for (const field of ['宽度', '高度', '步数', '批量']) await page.getByRole('button', { name: `固定${field}` }).click()
  await setNumber(page, '批量', 64)
  await page.getByText('若仍然运行：').waitFor({ timeout: 20_000 })
  expect(await englishOn()).toEqual([])
  await photograph(page, 'generate-zh-pinned')
})
test('the monitor, the log book and the cards', async () => {
  await open('monitor', '停靠中的显卡')
  await page.locator('.gateway .notice').first().waitFor()
  expect(await englishOn()).toEqual([])
  await photograph(page, 'monitor-zh')
  await open('history', '航海日志')
  expect(await englishOn()).toEqual([])
  await open('cards', '同一任务换一张卡')
  await page.locator('.cards .notice').nth(2).waitFor({ timeout: 20_000 })
  expect(await englishOn()).toEqual([])
  await photograph(page, 'cards-zh')
})
test('the doctor, with what it found and what to do', async () => {
  await open('doctor', '哪里有问题，该怎么办')
  await page.locator('.good li').first().waitFor()
  expect(await englishOn()).toEqual([])
  expect(await violations(page)).toEqual([])
  await photograph(page, 'doctor-zh')
})
// A full test has settings that cannot be compared pixel by pixel, and each says why.
interface Test { sessionId: string; state: string; prompts: string[]; pictures: { candidate: number; block: number; state: string; whyNoDistance: string | null }[] }
test('the lab: its plan, how it goes, why pictures are not compared', { timeout: 180_000 }, async () => {
  await open('lab', '哪种更省的设置同样好？')
  await page.getByRole('radio', { name: /完整测试/ }).check()
  await page.getByRole('radio', { name: '自己的提示词' }).check()
  await page.getByLabel('每行一条提示词').fill('雪中的狐狸')
  await page.locator('.bound summary').filter({ hasText: '1 条提示词' }).click({ timeout: 60_000 })
  await page.locator('.bound details[open] li').first().waitFor()
  expect(await englishOn()).toEqual([])
  await photograph(page, 'lab-zh-begin')
  await page.getByRole('button', { name: '开始测试' }).click()
  await expect.poll(() => page.url(), { timeout: 60_000 }).toMatch(/#\/lab\/.+/)
  const id = page.url().split('/').pop() ?? ''
  const now = async (): Promise<Test> => await (await fetch(`${daemon.url}/api/quality-test?sessionId=${id}`)).json() as Test
  const odd = async (): Promise<Test['pictures']> => (await now()).pictures.filter((one) => one.state === 'drawn' && one.whyNoDistance !== null)
  await expect.poll(async () => (await odd()).length, { timeout: 120_000 }).toBeGreaterThan(0)
  await page.getByRole('button', { name: '暂停' }).click()
  await page.getByText('已按要求暂停').waitFor({ timeout: 30_000 })
  const { prompts } = await now()
  expect(await englishOn(prompts)).toEqual([])
  const cell = (await odd())[0]
  if (!cell) throw new Error('no picture is beyond comparison')
  await page.locator('.cell.drawn').and(page.locator(`[aria-label^="#${cell.candidate} "]`)).first().click()
  await page.getByText('此处逐像素比较没有意义：').waitFor()
  await page.locator('[data-test=lab-mark]').waitFor({ timeout: 20_000 })
  expect(await englishOn(prompts)).toEqual([])
  expect(await violations(page)).toEqual([])
  await photograph(page, 'lab-zh')
  await page.getByRole('button', { name: '取消测试' }).click()
  await page.getByText('已按要求取消').waitFor({ timeout: 30_000 })
  expect(await englishOn(prompts)).toEqual([])
})
