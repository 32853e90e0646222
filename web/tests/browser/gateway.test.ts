// SPDX-License-Identifier: Apache-2.0
// Goal: what other clients send through the gateway can be seen, with why it waits, and led from the Monitor. Method: prompts to the
// real gateway before the simulated card, the page in a browser.
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Daemon, openBrowser, photograph, violations } from './ship'

const daemon = new Daemon()
let browser: Browser
let page: Page

beforeAll(async () => {
  await daemon.start(50)
  browser = await openBrowser()
  page = await browser.newPage({ viewport: { width: 1440, height: 900 }, reducedMotion: 'reduce' })
})
afterAll(async () => {
  await browser.close()
  await daemon.remove()
})

async function send(client: string, seed: number, side = 512, headers: Record<string, string> = {}): Promise<number> {
  const prompt = { 4: { class_type: 'CheckpointLoaderSimple', inputs: { ckpt_name: 'sd_xl_base_1.0.safetensors' } },
    5: { class_type: 'EmptyLatentImage', inputs: { width: side, height: side, batch_size: 1 } }, 6: { class_type: 'CLIPTextEncode', inputs: { text: 'x', clip: ['4', 1] } },
    3: { class_type: 'KSampler', inputs: { seed, steps: 8, cfg: 7, sampler_name: 'euler', scheduler: 'normal', denoise: 1, model: ['4', 0], positive: ['6', 0], negative: ['6', 0], latent_image: ['5', 0] } },
    8: { class_type: 'VAEDecode', inputs: { samples: ['3', 0], vae: ['4', 2] } }, 9: { class_type: 'SaveImage', inputs: { images: ['8', 0], filename_prefix: 'x' } } }
  const answer = await fetch(`http://127.0.0.1:${daemon.gatewayPort}/prompt`, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify({ prompt, client_id: client }) })
  await answer.text()
  return answer.status
}

test('what other clients send is listed with why it waits; it is paused, moved, taken back and goes on', async () => {
  await page.goto(`${daemon.url}/#/monitor`)
  const sheet = page.locator('.gateway')
  await sheet.getByText('No client has come through the gateway yet.').waitFor()
  await sheet.getByText('The queue is open.').waitFor()
  expect(await sheet.getByText(/^(The card is|Whether)/).count(), 'heat, in words').toBe(1)
  await sheet.getByRole('button', { name: 'Pause the queue' }).click()
  await sheet.getByText('Paused: nothing more is sent').waitFor()
  for (const [index, client] of ['krita', 'swarm', 'script'].entries()) expect(await send(client, index + 1)).toBe(200)
  const queue = (): Promise<string[]> => sheet.locator('ol.held strong').allTextContents()
  await expect.poll(queue, { timeout: 10_000 }).toEqual(['krita', 'swarm', 'script'])
  expect(await sheet.getByText('waits: the queue is paused').count()).toBe(3)
  expect(await sheet.getByText('when it starts is not known').count()).toBe(3)
  await sheet.getByRole('button', { name: 'Let go sooner: script, place 3' }).click()
  await expect.poll(queue).toEqual(['krita', 'script', 'swarm'])
  await sheet.getByRole('button', { name: 'Take out of the queue: krita, place 1' }).click()
  await expect.poll(queue).toEqual(['script', 'swarm'])
  expect(await violations(page)).toEqual([])
  await photograph(page, 'monitor-gateway-paused')
  await page.setViewportSize({ width: 360, height: 900 })
  // The chart takes its new width with the next frame.
  const sideways = (): Promise<number> => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
  await expect.poll(sideways).toBeLessThanOrEqual(0)
  await photograph(page, 'monitor-gateway-paused-360')
  await page.setViewportSize({ width: 1440, height: 900 })
  await sheet.getByRole('button', { name: 'Resume the queue' }).click()
  await expect.poll(() => sheet.getByText('is done').count(), { timeout: 40_000 }).toBe(2)
  await sheet.getByText('was taken back').waitFor()
  await photograph(page, 'monitor-gateway-done')
})

test('a job that was refused can be sent all the same, once its risk was read', async () => {
  const sheet = page.locator('.gateway')
  await page.goto(`${daemon.url}/#/monitor`)
  expect(await send('stubborn', 7, 2048, { 'X-Plimsoll-Policy': 'enforce', 'X-Plimsoll-Pin': 'vae,size,batch' })).toBe(400)
  const refused = sheet.getByRole('listitem').filter({ hasText: 'stubborn' })
  await refused.getByText('was refused').waitFor({ timeout: 10_000 })
  await refused.getByRole('button', { name: 'Send anyway' }).click()
  await refused.getByText('the card may run out of memory').waitFor()
  expect(await violations(page)).toEqual([])
  await photograph(page, 'monitor-gateway-anyway')
  await refused.getByRole('button', { name: 'Leave it' }).click()
  await refused.getByRole('button', { name: 'Send anyway' }).click()
  await refused.getByRole('button', { name: 'Send it' }).click()
  await sheet.getByText('was refused').waitFor({ state: 'hidden' })
  // It runs: how it ends is the simulated card's to say.
  await expect.poll(() => refused.textContent(), { timeout: 50_000 }).toMatch(/is done|failed/)
})
