// SPDX-License-Identifier: Apache-2.0
//
// Everything that a filter finds, as a file: asked for page after page, kept in pieces that the browser may put on disk.
import type { HistoryQuery, Run } from '../lib/types'
import { client } from './client'

const kPageRuns = 1000 // the contract's most

type Cell = string | number | null | undefined
const kColumns: readonly [string, (run: Run) => Cell][] = [
  ['runId', (run) => run.runId], ['startedMs', (run) => run.startedMs], ['endedMs', (run) => run.endedMs], ['outcome', (run) => run.outcome],
  ['model', (run) => run.model], ['checkpoint', (run) => run.checkpoint], ['family', (run) => run.family], ['card', (run) => run.card],
  ['width', (run) => run.settings.width], ['height', (run) => run.settings.height], ['batch', (run) => run.settings.batch],
  ['steps', (run) => run.settings.steps], ['cfg', (run) => run.settings.cfg], ['sampler', (run) => run.settings.sampler],
  ['scheduler', (run) => run.settings.scheduler], ['quality', (run) => run.settings.quality], ['seed', (run) => run.settings.seed],
  ['verdict', (run) => run.verdict], ['loadLineBytes', (run) => run.loadLineBytes],
  ['forecastPeakBytes', (run) => run.forecastPeakBytes], ['observedPeakBytes', (run) => run.observedPeakBytes],
  ['forecastSeconds', (run) => run.forecastSeconds], ['observedSeconds', (run) => run.observedSeconds],
  ['comfyuiVersion', (run) => run.comfyuiVersion], ['error', (run) => run.error], ['prompt', (run) => run.prompt],
]

// RFC 4180; text that a spreadsheet would take for a formula gets an apostrophe.
export function csvCell(value: Cell): string {
  const text = String(value ?? '')
  const harmless = typeof value === 'string' && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless
}
export function csvLines(runs: readonly Run[]): string {
  return runs.map((run) => `${kColumns.map(([, read]) => csvCell(read(run))).join(',')}\r\n`).join('')
}

export async function exportRuns(kind: 'csv' | 'json', filter: HistoryQuery, onCount: (runs: number) => void, signal: AbortSignal): Promise<Blob> {
  const pieces: Blob[] = [new Blob([kind === 'csv' ? `${kColumns.map(([name]) => name).join(',')}\r\n` : '{"runs":['])]
  let cursor: number | undefined
  let count = 0
  do {
    const page = await client.history({ ...filter, limit: kPageRuns, cursor }, signal)
    const text = kind === 'csv' ? csvLines(page.runs) : page.runs.map((run, index) => `${count + index > 0 ? ',' : ''}\n${JSON.stringify(run)}`).join('')
    pieces.push(new Blob([text]))
    count += page.runs.length
    onCount(count)
    cursor = page.nextCursor ?? undefined
  } while (cursor !== undefined)
  if (kind === 'json') pieces.push(new Blob(['\n]}\n']))
  return new Blob(pieces, { type: kind === 'json' ? 'application/json' : 'text/csv;charset=utf-8' })
}

export function offerFile(content: Blob, name: string): void {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(content)
  link.download = name
  link.click()
  URL.revokeObjectURL(link.href)
}
