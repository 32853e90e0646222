// SPDX-License-Identifier: Apache-2.0
import { cards } from './cards'
import { codes } from './codes'
import { doctor } from './doctor'
import { frame } from './frame'
import { generate } from './generate'
import { history } from './history'
import { lab } from './lab'
import { monitor } from './monitor'
import { plan as saidPlan } from './said/plan'

export const name = 'English'

export const messages = { ...frame, ...codes, ...monitor, ...generate, ...history, ...cards, ...doctor, ...lab }
// What the daemon says is English by itself; only what reads better on a page is worded anew.
export const said: Record<string, string> = { ...saidPlan }
export const words: Record<string, string> = {}
