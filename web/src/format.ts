// SPDX-License-Identifier: Apache-2.0
//
// The one place where numbers become text. Sizes come in bytes and are written in MiB or GiB (by 1024), times come in
// seconds; what is not known is written as a dash, never as zero.
const kMebi = 1024 * 1024
const kGibi = 1024 * kMebi
export const kUnknown = '–'

type Maybe = number | null | undefined

function known(value: Maybe): value is number {
  return typeof value === 'number' && Number.isFinite(value)
}

export function formatBytes(bytes: Maybe): string {
  if (!known(bytes)) return kUnknown
  if (Math.abs(bytes) >= kGibi) return `${(bytes / kGibi).toFixed(2)} GiB`
  return `${Math.round(bytes / kMebi)} MiB`
}

export function formatGib(bytes: Maybe): string {
  return known(bytes) ? (bytes / kGibi).toFixed(2) : kUnknown
}

export function formatMib(bytes: Maybe): string {
  return known(bytes) ? `${Math.round(bytes / kMebi)} MiB` : kUnknown
}

export function toGib(bytes: number): number {
  return bytes / kGibi
}

export function formatSeconds(seconds: Maybe): string {
  if (!known(seconds)) return kUnknown
  const size = Math.abs(seconds)
  if (size < 10) return `${seconds.toFixed(1)} s`
  if (size < 120) return `${Math.round(seconds)} s`
  const whole = Math.round(size)
  const sign = seconds < 0 ? '-' : ''
  if (whole < 3600) return `${sign}${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`
  return `${sign}${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, '0')} min`
}

// A price: always with its sign, so that what is gained and what is lost cannot be mistaken.
export function formatSecondsDelta(seconds: Maybe): string {
  if (!known(seconds)) return kUnknown
  return `${seconds > 0 ? '+' : seconds < 0 ? '−' : '±'}${formatSeconds(Math.abs(seconds))}`
}

export function formatPercent(share: Maybe, digits = 0): string {
  return known(share) ? `${(share * 100).toFixed(digits)} %` : kUnknown
}

// What rounds to nothing has no sign.
export function formatNumber(value: Maybe, digits = 0): string {
  return known(value) ? value.toFixed(digits).replace(/^-(0(?:\.0+)?)$/, '$1') : kUnknown
}

export function formatUnit(value: Maybe, unit: string, digits = 0): string {
  return known(value) ? `${value.toFixed(digits)} ${unit}` : kUnknown
}

// Making one costs more than all it ever formats: a table that scrolls asks for hundreds a second.
interface Formats { time: Intl.DateTimeFormat; count: Intl.NumberFormat }
const formats = new Map<string, Formats>()
function formatsOf(language: string): Formats {
  let found = formats.get(language)
  if (!found) {
    found = { time: new Intl.DateTimeFormat(language, { dateStyle: 'short', timeStyle: 'short' }), count: new Intl.NumberFormat(language) }
    formats.set(language, found)
  }
  return found
}

export function formatTime(ms: Maybe, language: string): string {
  return known(ms) ? formatsOf(language).time.format(ms) : kUnknown
}

export function formatCount(value: Maybe, language: string): string {
  return known(value) ? formatsOf(language).count.format(value) : kUnknown
}

export function formatSize(width: Maybe, height: Maybe): string {
  return known(width) && known(height) ? `${width} × ${height}` : kUnknown
}
