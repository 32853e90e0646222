// SPDX-License-Identifier: Apache-2.0
//
// Goal: the built package, as npm would install it, speaks with the real daemon. Method: the packed files in a folder of their own,
// `plimsoll serve --simulate` on a free port. PLIMSOLL_BINARY is the program.
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import { fileURLToPath, pathToFileURL } from 'node:url'

const here = dirname(dirname(fileURLToPath(import.meta.url)))
const folder = mkdtempSync(join(tmpdir(), 'plimsoll-client-'))
const kToken = '0123456789abcdef-token'
const kJob = { model: 'sdxl-base', width: 512, height: 512, steps: 10 }
const running = []

async function startDaemon(speed, env = {}) {
  const home = mkdtempSync(join(folder, 'home-'))
  const child = spawn(process.env.PLIMSOLL_BINARY, ['serve', '--simulate', '--card', 'rtx3050-6gb', '--speed', String(speed), '--seed', '1',
    '--listen', '127.0.0.1:0', '--gateway-listen', '127.0.0.1:0', '--log-format', 'json'], { stdio: ['ignore', 'pipe', 'inherit'], cwd: home,
    env: { ...process.env, PLIMSOLL_HOME: home, HOME: home, ...env } })
  running.push(child)
  for await (const line of createInterface({ input: child.stdout })) {
    const event = JSON.parse(line)
    if (event.event !== 'listening') continue
    child.stdout.resume()
    return `http://127.0.0.1:${event.port}`
  }
  throw new Error('the daemon did not start')
}

let lib
let baseUrl
let plimsoll
before(async () => {
  assert.ok(process.env.PLIMSOLL_BINARY, 'PLIMSOLL_BINARY is not set')
  // What `npm publish` would send, and nothing else of this checkout.
  const packed = JSON.parse(execFileSync('npm', ['pack', '--json', '--pack-destination', folder], { cwd: here, encoding: 'utf8' }))
  execFileSync('tar', ['-xzf', join(folder, packed[0].filename), '-C', folder])
  mkdirSync(join(folder, 'node_modules'))
  cpSync(join(folder, 'package'), join(folder, 'node_modules/plimsoll-client'), { recursive: true })
  writeFileSync(join(folder, 'user.mjs'), "export * from 'plimsoll-client'\n")
  lib = await import(pathToFileURL(join(folder, 'user.mjs')).href)
  baseUrl = await startDaemon(0)
  plimsoll = new lib.ResourceManager({ baseUrl: `${baseUrl}/` })
})
after(async () => {
  for (const child of running) {
    const ended = new Promise((done) => child.once('exit', done))
    child.kill('SIGTERM')
    await ended
  }
  rmSync(folder, { recursive: true, force: true })
})

async function ended(jobId, url = baseUrl) {
  const stop = new AbortController()
  const limit = setTimeout(() => { stop.abort() }, 60_000)
  try {
    for await (const event of lib.readEvents({ baseUrl: url, signal: stop.signal, lastEventId: 'another-1' }))
      if (event.type === 'job' && event.data.jobId === jobId && event.data.endedMs !== null) return event.data
      else if (event.type === 'reset') {
        const now = await new lib.ResourceManager({ baseUrl: url }).job(jobId)
        if (now.endedMs !== null) return now
      }
    throw new Error('the job did not end in time')
  } finally {
    clearTimeout(limit)
  }
}

test('the package has its types beside its modules, and TypeScript takes them as a user does', () => {
  writeFileSync(join(folder, 'user.ts'), `
import { readEvents, ResourceManager, type DaemonEvent, type Forecast, type Job, PlimsollError } from 'plimsoll-client'
const plimsoll = new ResourceManager({ baseUrl: 'http://x', token: 't', timeoutMs: 5 })
export const forecast: Promise<Forecast> = plimsoll.forecast({ model: 'sdxl-base', width: 512 }, new AbortController().signal)
export const left = async (job: Job): Promise<number | null> => (await plimsoll.job(job.jobId)).secondsLeft
export async function follow(): Promise<string> {
  for await (const event of readEvents({ baseUrl: 'http://x' })) if (event.type === 'warning') return event.data.message
  return ''
}
export const is = (event: DaemonEvent): boolean => event.type === 'job' && event.data.state === 'done'
export const code = (error: unknown): string => (error instanceof PlimsollError ? error.code : '')
// @ts-expect-error a field that the contract does not have
void plimsoll.forecast({ model: 'sdxl-base', wdith: 512 })
// @ts-expect-error a state that no job has
export const never = (job: Job): boolean => job.state === 'finished'
`)
  // The example that everybody copies.
  const example = /```ts\n(.*?)```/s.exec(readFileSync(join(here, 'README.md'), 'utf8'))[1]
  writeFileSync(join(folder, 'readme.ts'), `declare const workflow: Record<string, never>\n${example}`)
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
  for (const resolution of ['NodeNext', 'Bundler'])
    execFileSync(process.execPath, [join(here, '../node_modules/typescript/bin/tsc'), '--noEmit', '--strict', '--target', 'ES2022', '--module',
      resolution === 'Bundler' ? 'ESNext' : resolution, '--moduleResolution', resolution, '--lib', 'ES2022,DOM,DOM.Iterable', '--typeRoots', join(folder, 'none'), 'user.ts', 'readme.ts'], { cwd: folder, stdio: ['ignore', 'inherit', 'inherit'] })
})

test('questions before a job runs', async () => {
  const forecast = await plimsoll.forecast({ ...kJob, width: 1024, height: 1024 })
  assert.ok(['fits', 'fits_slowly'].includes(forecast.verdict), forecast.verdict)
  assert.ok(forecast.peakBytes > 1e9 && forecast.phases.length > 3)
  const plan = await plimsoll.plan({ ...kJob, width: 1536, height: 1536, pin: ['steps'] })
  assert.ok(plan.changes.length > 0)
  assert.ok(plan.after.peakBytes <= plan.after.loadLineBytes)
  const largest = await plimsoll.largest({ ...kJob, knob: 'width' })
  assert.ok(largest.value === null || largest.value >= 512)
  // Steps are bounded by time alone, which the daemon takes from its own limit unless it is told another.
  const hour = await plimsoll.largest({ ...kJob, knob: 'steps', maxDurationMin: 60 })
  const minute = await plimsoll.largest({ ...kJob, knob: 'steps', maxDurationMin: 0.5 })
  assert.ok(hour.value > minute.value && minute.value > 1, `${hour.value} ${minute.value}`)
  assert.ok(minute.forecast.seconds <= 30 && minute.nextValueFailsBecause.includes('above the limit'))
  assert.equal((await plimsoll.largest({ ...kJob, knob: 'cfg' })).value, 15)
})

test('the four questions about settings', async () => {
  const settings = await plimsoll.calculateOptimalSettings({ width: 1024, height: 1024, quality: 'optimized', model: 'sdxl-base' })
  assert.equal(settings.width, 1024)
  const safety = await plimsoll.isSettingsSafe(settings)
  assert.equal(safety.safe, true)
  const summary = await plimsoll.getResourceSummary(settings)
  assert.ok(summary.vramBytes > 1e9 && summary.seconds > 1)
  assert.equal(await plimsoll.getBestSettings('sdxl-base', 1), null)
})

test('a job from order to picture, told by events, and in the history', async () => {
  const stop = new AbortController()
  const seen = []
  let order
  for await (const event of lib.readEvents({ baseUrl, signal: stop.signal })) {
    order ??= await plimsoll.generateWithComfyUI({ ...kJob, prompt: 'a lighthouse', seed: 7 })
    seen.push(event)
    if (event.type === 'job' && event.data.jobId === order.jobId && event.data.endedMs !== null) break
  }
  const told = seen.filter((event) => event.type === 'job' && event.data.jobId === order.jobId)
  assert.deepEqual([told[0].data.state, told.at(-1).data.state], ['queued', 'done'])
  const forecast = seen.find((event) => event.type === 'forecast' && event.data.jobId === order.jobId)
  assert.equal(forecast.data.forecast.loadLineBytes, told.at(-1).data.loadLineBytes)
  assert.equal(new Set(seen.map((event) => event.id)).size, seen.length)
  const picture = await fetch(plimsoll.url(told.at(-1).data.images[0]))
  assert.equal(picture.headers.get('content-type'), 'image/png')
  const page = await plimsoll.history({ model: 'sdxl-base', limit: 5 })
  assert.deepEqual(page.runs.map((run) => run.runId), told.at(-1).data.runIds)
  assert.equal((await plimsoll.stats()).total.done, 1)
  assert.equal((await plimsoll.jobs()).find((job) => job.jobId === order.jobId).state, 'done')
  // Whoever comes back with the last id that was seen is told only what came after it.
  const first = told[0]
  for await (const event of lib.readEvents({ baseUrl, lastEventId: first.id })) {
    assert.notEqual(event.id, first.id)
    assert.notEqual(event.type, 'reset')
    break
  }
})

test('the history is read run by run, compared, added up and taken away whole', async () => {
  for (const steps of [8, 12]) await ended((await plimsoll.generateWithComfyUI({ ...kJob, steps, prompt: `=a whale in ${steps} steps`, seed: 3 })).jobId)
  const [left, right] = (await plimsoll.history({ text: 'whale', sort: 'oldest' })).runs
  assert.deepEqual(await plimsoll.run(left.runId.slice(0, 20)), left)
  const { differences } = await plimsoll.compareRuns(left.runId, right.runId)
  assert.deepEqual(differences.find((one) => one.field === 'settings.steps'), { field: 'settings.steps', left: 8, right: 12, change: 4 })
  assert.equal((await plimsoll.stats({ text: 'whale', by: 'day' })).total.done, 2)
  assert.equal((await plimsoll.stats({ text: 'whale', by: 'day' })).newestOnly, false)
  assert.equal((await plimsoll.stats({ text: 'whales' })).total.runs, 0)
  assert.equal((await plimsoll.trends({ text: 'whale', by: 'card' })).trends[0].total.runs, 2)
  const wholeOf = async (query) => {
    let text = ''
    for await (const piece of plimsoll.exportHistory({ text: 'whale', ...query })) text += piece
    return text
  }
  assert.deepEqual((await wholeOf({})).trim().split('\n').map((line) => JSON.parse(line).runId), [left.runId, right.runId])
  const lines = (await wholeOf({ format: 'csv' })).split('\r\n')
  assert.equal(lines.length, 4) // the names of the columns, two runs, the end
  assert.ok(lines[1].endsWith("'=a whale in 8 steps"), lines[1]) // a spreadsheet is not to run it
  assert.equal(await (await fetch(plimsoll.exportUrl({ text: 'whale', format: 'csv' }))).text(), lines.join('\r\n'))
  await assert.rejects(wholeOf({ outcome: 'no such' }), { name: 'PlimsollError', code: 'invalid_input', status: 400 })
  for await (const piece of plimsoll.exportHistory()) { // whoever has seen enough may go
    assert.ok(piece.startsWith('{'))
    break
  }
})

test('every call takes an AbortSignal last, before it starts and while it runs', async () => {
  const calls = {
    calculateOptimalSettings: (signal) => plimsoll.calculateOptimalSettings(kJob, signal), isSettingsSafe: (signal) => plimsoll.isSettingsSafe(kJob, signal),
    getResourceSummary: (signal) => plimsoll.getResourceSummary(kJob, signal), getBestSettings: (signal) => plimsoll.getBestSettings('sdxl-base', 0, signal),
    generateWithComfyUI: (signal) => plimsoll.generateWithComfyUI({ ...kJob, prompt: 'x' }, signal), forecast: (signal) => plimsoll.forecast(kJob, signal),
    plan: (signal) => plimsoll.plan(kJob, signal), largest: (signal) => plimsoll.largest({ ...kJob, knob: 'width' }, signal),
    health: (signal) => plimsoll.health(signal), devices: (signal) => plimsoll.devices(signal), models: (signal) => plimsoll.models(signal),
    cards: (signal) => plimsoll.cards(signal), jobs: (signal) => plimsoll.jobs(signal), job: (signal) => plimsoll.job('x', signal),
    cancelJob: (signal) => plimsoll.cancelJob('x', signal), gateway: (signal) => plimsoll.gateway(signal),
    pauseGateway: (signal) => plimsoll.pauseGateway(signal), resumeGateway: (signal) => plimsoll.resumeGateway(signal), heldJob: (signal) => plimsoll.heldJob('x', signal),
    changeHeldJob: (signal) => plimsoll.changeHeldJob('x', { priority: 1 }, signal), cancelHeldJob: (signal) => plimsoll.cancelHeldJob('x', signal),
    runHeldJobAnyway: (signal) => plimsoll.runHeldJobAnyway('x', signal), getQualityScore: (signal) => plimsoll.getQualityScore(kJob, signal), history: (signal) => plimsoll.history({}, signal), run: (signal) => plimsoll.run('x', signal),
    compareRuns: (signal) => plimsoll.compareRuns('x', 'y', signal), trends: (signal) => plimsoll.trends({}, signal), stats: (signal) => plimsoll.stats({}, signal),
    exportHistory: (signal) => plimsoll.exportHistory({}, signal).next(), doctor: (signal) => plimsoll.doctor(signal), presets: (signal) => plimsoll.presets(signal),
    loadPreset: (signal) => plimsoll.loadPreset('x', signal), savePreset: (signal) => plimsoll.savePreset('x', kJob, signal), removePreset: (signal) => plimsoll.removePreset('x', signal),
  }
  // A method that is added is missed here; what asks nobody has no signal.
  const methods = Object.getOwnPropertyNames(lib.ResourceManager.prototype).filter((name) => !['constructor', 'url', 'exportUrl', 'get', 'post', 'call'].includes(name))
  assert.deepEqual(Object.keys(calls).sort(), methods.sort())
  for (const [name, call] of Object.entries(calls)) {
    const before = new AbortController()
    before.abort()
    await assert.rejects(call(before.signal), { name: 'AbortError' }, name)
    const during = new AbortController()
    const answer = call(during.signal)
    during.abort()
    await assert.rejects(answer, { name: 'AbortError' }, name)
  }
})

test('every call of the lab takes an AbortSignal last', async () => {
  const lab = new lib.QualityTester({ baseUrl })
  const calls = {
    quickQualityTest: (signal) => lab.quickQualityTest('sdxl-base', {}, undefined, signal), startQualityTest: (signal) => lab.startQualityTest('sdxl-base', 'quick', {}, signal),
    planQualityTest: (signal) => lab.planQualityTest('sdxl-base', 'quick', {}, signal), getTestStatus: (signal) => lab.getTestStatus('x', signal), sessions: (signal) => lab.sessions(signal),
    proposals: (signal) => lab.proposals(signal), acceptTest: (signal) => lab.acceptTest('x', signal),
    pauseTest: (signal) => lab.pauseTest('x', signal), resumeTest: (signal) => lab.resumeTest('x', signal), cancelTest: (signal) => lab.cancelTest('x', signal),
    nextPair: (signal) => lab.nextPair('x', signal), vote: (signal) => lab.vote('x', {}, signal), votes: (signal) => lab.votes('x', signal), pairs: (signal) => lab.pairs('x', 2, signal),
    ballots: (signal) => lab.ballots('x', signal), castBallots: (signal) => lab.castBallots('x', [], signal), mark: (signal) => lab.mark('x', 0, 0, signal),
  }
  const methods = Object.getOwnPropertyNames(lib.QualityTester.prototype).filter((name) => !['constructor', 'change', 'pictureUrl', 'mapUrl', 'reportUrl'].includes(name))
  assert.deepEqual(Object.keys(calls).sort(), methods.sort())
  for (const [name, call] of Object.entries(calls)) {
    const before = new AbortController()
    before.abort()
    await assert.rejects(call(before.signal), { name: 'AbortError' }, name)
  }
})

test('a job is cancelled', async () => {
  const url = await startDaemon(5)
  const slow = new lib.ResourceManager({ baseUrl: url })
  const job = await slow.generateWithComfyUI({ ...kJob, steps: 50, prompt: 'one' })
  await slow.cancelJob(job.jobId)
  assert.equal((await ended(job.jobId, url)).state, 'cancelled')
})

test('presets are saved, listed and removed', async () => {
  await plimsoll.savePreset('at dusk', kJob)
  const preset = (await plimsoll.presets()).find((one) => one.name === 'at dusk')
  assert.equal(preset.settings.width, 512)
  assert.deepEqual(await plimsoll.loadPreset('at dusk'), preset)
  await plimsoll.removePreset('at dusk')
  assert.deepEqual(await plimsoll.presets(), [])
  await assert.rejects(plimsoll.removePreset('at dusk'), { name: 'PlimsollError', code: 'not_found', status: 404 })
})

test('the daemon and its card', async () => {
  assert.equal((await plimsoll.health()).simulated, true)
  assert.ok((await plimsoll.cards()).some((card) => card.name === 'rtx3050-6gb'))
  assert.ok((await plimsoll.models()).samplers.includes('euler'))
  assert.ok(Array.isArray(await plimsoll.devices()))
})

test('what goes wrong is a PlimsollError with the daemon\'s own code', async () => {
  await assert.rejects(plimsoll.forecast({ model: 'no-such-model' }), (error) => error instanceof lib.PlimsollError && error.status === 404 && error.code === 'not_found')
  await assert.rejects(plimsoll.forecast({ ...kJob, wdith: 5 }), { code: 'invalid_input', status: 400, details: { field: 'wdith' } })
  await assert.rejects(plimsoll.job('no-uuid'), { code: 'invalid_input', status: 400 })
  await assert.rejects(new lib.ResourceManager({ baseUrl: 'http://127.0.0.1:9' }).health(), { code: 'unavailable', status: 0 })
  const stop = new AbortController()
  stop.abort()
  await assert.rejects(plimsoll.health(stop.signal), { name: 'AbortError' })
  // One that listens and never answers: the daemon itself would be too quick at times.
  const silent = createServer(() => {}).listen(0, '127.0.0.1')
  await once(silent, 'listening')
  await assert.rejects(new lib.ResourceManager({ baseUrl: `http://127.0.0.1:${silent.address().port}`, timeoutMs: 50 }).doctor(), { code: 'unavailable', status: 0 })
  silent.closeAllConnections()
  silent.close()
})

test('a token is shown where one is asked for', async () => {
  const url = await startDaemon(0, { PLIMSOLL_TOKEN: kToken })
  await assert.rejects(new lib.ResourceManager({ baseUrl: url }).health(), { code: 'unauthorized', status: 401 })
  await assert.rejects(lib.readEvents({ baseUrl: url }).next(), { code: 'unauthorized', status: 401 })
  const known = new lib.ResourceManager({ baseUrl: url, token: kToken })
  assert.equal((await known.health()).status, 'ok')
  const job = await known.generateWithComfyUI({ ...kJob, prompt: 'x' })
  for await (const event of lib.readEvents({ baseUrl: url, token: kToken }))
    if (event.type === 'job' && event.data.jobId === job.jobId) break
})

test('a quality test is begun, watched, paused, resumed and cancelled', async () => {
  // A daemon of its own: what the lab learns would change the best settings that other tests ask for.
  const lab = new lib.QualityTester({ baseUrl: await startDaemon(0) })
  const order = { prompt: 'a toy train', seed: 11 }
  const begun = await lab.startQualityTest('3d-cartoon', 'quick', order)
  assert.ok(begun.imagesMax > 10 && begun.secondsMax > 0 && begun.candidates.length > 1)
  const plan = await lab.planQualityTest('3d-cartoon', 'quick', order)
  assert.deepEqual([plan.imagesMax, plan.secondsMax, plan.reference], [begun.imagesMax, begun.secondsMax, begun.reference])
  assert.ok(plan.peakBytesMax > 0)
  assert.equal((await lab.sessions())[0].sessionId, begun.sessionId)
  await lab.pauseTest(begun.sessionId)
  const until = async (met) => {
    for (const deadline = Date.now() + 60_000; Date.now() < deadline;) {
      const session = await lab.getTestStatus(begun.sessionId)
      if (met(session)) return session
      await new Promise((done) => setTimeout(done, 50))
    }
    throw new Error('the test of quality did not come so far in time')
  }
  const paused = await until((session) => session.state === 'paused')
  await lab.resumeTest(begun.sessionId)
  await until((session) => session.drawn > paused.drawn)
  // Pictures, what they lost for, votes as files, the report.
  const seen = await until((session) => session.pictures.filter((one) => one.state === 'drawn').length > 2)
  const { candidate, block } = seen.pictures.find((one) => one.mapUrl !== null)
  const bytesOf = async (url) => Buffer.from(await (await fetch(url)).arrayBuffer())
  assert.equal((await bytesOf(lab.pictureUrl(begun.sessionId, candidate, block, 64))).subarray(0, 2).toString('hex'), 'ffd8')
  assert.equal((await bytesOf(lab.mapUrl(begun.sessionId, candidate, block, 64))).subarray(1, 4).toString(), 'PNG')
  assert.equal((await lab.mark(begun.sessionId, candidate, block)).candidate, candidate)
  const { pairs } = await lab.pairs(begun.sessionId, 3)
  const cell = (side) => ({ candidate: side.candidate, block: side.block })
  const judged = pairs.map(({ voteId, left, right }) => ({ voteId, left: cell(left), right: cell(right), preferred: 'right' }))
  assert.equal((await lab.castBallots(begun.sessionId, judged)).votes, 3)
  assert.equal((await lab.castBallots(begun.sessionId, judged)).votes, 3)
  assert.deepEqual((await lab.ballots(begun.sessionId)).ballots.map((one) => one.voteId).sort(), judged.map((one) => one.voteId).sort())
  assert.match((await bytesOf(lab.reportUrl(begun.sessionId))).toString(), /<!doctype html>[^]*data:image\/jpeg/)
  await lab.cancelTest(begun.sessionId)
  await until((session) => session.state === 'cancelled')
  await assert.rejects(lab.getTestStatus('00000000-0000-4000-8000-000000000000'), (error) => error instanceof lib.PlimsollError && error.status === 404)
  const stop = new AbortController()
  const quick = lab.quickQualityTest('3d-cartoon', order, (session) => { if (session.state === 'running') stop.abort(new Error('enough')) }, stop.signal)
  await assert.rejects(quick, /enough/)
})
