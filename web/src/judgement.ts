// SPDX-License-Identifier: Apache-2.0
//
// The daemon's judgement of a forecast as a sentence in the reader's language. The daemon says how the job stands and every number;
// its own sentence is English.
import { formatBytes, formatSeconds } from './format'
import { t } from './i18n'
import type { PricedForecast } from './lib/types'

function standingOf(forecast: PricedForecast): string {
  const { judgement, cardVerdict } = forecast
  const peak = formatBytes(forecast.peakBytes)
  const line = formatBytes(forecast.loadLineBytes)
  const needed = formatBytes(forecast.floorBytes)
  if (judgement.standing === 'under') return t('judgement.under', { peak, line })
  if (judgement.standing === 'parked') return t('judgement.parked', { peak, line, over: formatBytes(judgement.overByBytes), needed })
  if (judgement.standing === 'unknown') return t('judgement.unknown')
  if (cardVerdict === 'will_not_fit') return t('judgement.card', { needed, limit: formatBytes(forecast.cardLimitBytes) })
  if (forecast.floorBytes > forecast.loadLineBytes) return t('judgement.floor', { needed, line })
  return t('judgement.workspaces', { size: formatBytes(forecast.workingSetBytes) })
}

export function sentenceOfForecast(forecast: PricedForecast): string {
  const late = forecast.judgement.inTime ? '' : ` ${t('judgement.late', { time: formatSeconds(forecast.seconds), limit: formatSeconds(forecast.secondsMax) })}`
  return standingOf(forecast) + late
}
