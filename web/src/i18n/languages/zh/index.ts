// SPDX-License-Identifier: Apache-2.0
import type { Messages, Said, Words } from '../..'
import { cards } from './cards'
import { codes } from './codes'
import { doctor } from './doctor'
import { frame } from './frame'
import { generate } from './generate'
import { history } from './history'
import { lab } from './lab'
import { monitor } from './monitor'
import { doctor as saidDoctor } from './said/doctor'
import { error as saidError } from './said/error'
import { forecast as saidForecast } from './said/forecast'
import { held as saidHeld } from './said/held'
import { lab as saidLab } from './said/lab'
import { plan as saidPlan } from './said/plan'
import { run as saidRun } from './said/run'
import { words as ours } from './said/words'

export const name = '中文'

export const messages: Messages = { ...frame, ...codes, ...monitor, ...generate, ...history, ...cards, ...doctor, ...lab }
// What the daemon says, by the codes of src/base/phrase_catalogue.h.
export const said: Said = { ...saidPlan, ...saidRun, ...saidHeld, ...saidError, ...saidLab, ...saidDoctor, ...saidForecast }
export const words: Words = ours
