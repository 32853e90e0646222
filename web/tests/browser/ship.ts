// SPDX-License-Identifier: Apache-2.0
//
// A daemon with a simulated card and a browser that looks at it. PLIMSOLL_BINARY is the program, PLIMSOLL_SCREENSHOTS the folder
// of pictures, CHROMIUM the browser (Debian's by default).
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { AxeResults } from 'axe-core'
import { chromium, type Browser, type Page } from 'playwright-core'

function needed(name: string): string {
  const value = process.env[name]
  if (!value) throw new Error(`${name} is not set: ./dev test sets it`)
  return value
}

export class Daemon {
  private process: ChildProcess | null = null
  port = 0
  gatewayPort = 0
  readonly home = mkdtempSync(join(tmpdir(), 'plimsoll-page-'))

  // Port 0 takes a free one; after a restart the page must find it where it was.
  async start(speed: number, env: Record<string, string> = {}): Promise<void> {
    const child = spawn(needed('PLIMSOLL_BINARY'), ['serve', '--simulate', '--card', 'rtx3050-6gb', '--speed', String(speed), '--seed', '1',
      '--listen', `127.0.0.1:${this.port}`, '--gateway-listen', `127.0.0.1:${this.gatewayPort}`, '--log-format', 'json'], { stdio: ['ignore', 'pipe', 'inherit'], cwd: this.home,
      env: { ...process.env, PLIMSOLL_HOME: this.home, HOME: this.home, PLIMSOLL_COMFYUI_FLAGS: '--preview-method latent2rgb', ...env } })
    this.process = child
    for await (const line of createInterface({ input: child.stdout })) {
      const event = JSON.parse(line) as { event: string; port?: number; gatewayPort?: number }
      if (event.event !== 'listening') continue
      this.port = event.port ?? 0
      this.gatewayPort = event.gatewayPort ?? 0
      child.stdout.resume() // later lines are not read, and must not block it
      return
    }
    throw new Error('the daemon did not start')
  }
  async stop(): Promise<void> {
    const child = this.process
    if (!child || child.exitCode !== null) return
    const ended = new Promise((done) => child.once('exit', done))
    child.kill('SIGTERM')
    await ended
  }
  async remove(): Promise<void> {
    await this.stop()
    rmSync(this.home, { recursive: true, force: true })
  }
  get url(): string { return `http://127.0.0.1:${this.port}` }
}

export async function openBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'] })
}

export async function photograph(page: Page, name: string): Promise<void> {
  const folder = process.env['PLIMSOLL_SCREENSHOTS']
  if (!folder) return
  mkdirSync(folder, { recursive: true })
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true })
}

export async function setNumber(page: Page, label: string, value: number): Promise<void> {
  const box = page.locator(`input.number[aria-label="${label}"]`)
  await box.fill(String(value))
  await box.blur()
}

// What axe finds on the page as it stands.
export async function violations(page: Page): Promise<string[]> {
  if (!(await page.evaluate(() => 'axe' in window))) await page.evaluate(readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8'))
  const found = await page.evaluate(() => (window as unknown as { axe: { run(): Promise<AxeResults> } }).axe.run())
  return found.violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.html).join(' ').slice(0, 300)}`)
}

// English on a page of another language: four words of Latin letters in a row are a sentence, wherever a reader meets them (also in
// drawings, hints, names for screen readers). `allowed` are names and the words of others, which stay as they are. What stands in
// <code> is code.
export async function englishOn(page: Page, allowed: readonly (string | RegExp)[] = []): Promise<string[]> {
  const texts = await page.evaluate(() => {
    const found: string[] = []
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
    for (let node = walker.nextNode(); node; node = walker.nextNode())
      if (node.parentElement && !node.parentElement.closest('code, script, style')) found.push(node.textContent ?? '')
    for (const element of document.querySelectorAll('*'))
      for (const name of ['aria-label', 'aria-valuetext', 'title', 'alt', 'placeholder']) found.push(element.getAttribute(name) ?? '')
    return [...found, document.title]
  })
  return englishIn(texts, allowed)
}
export function englishIn(texts: readonly string[], allowed: readonly (string | RegExp)[] = []): string[] {
  const without = (text: string): string => allowed.reduce<string>((rest, one) => rest.replaceAll(typeof one === 'string' ? one : new RegExp(one, 'g'), '·'), text)
  return [...new Set(texts.map((text) => text.trim()))].filter((text) => /(?:[A-Za-z][A-Za-z'’-]*[\s,;:]+){3}[A-Za-z]/.test(without(text)))
}
