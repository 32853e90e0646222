// SPDX-License-Identifier: Apache-2.0
// Forecasts against the line, plans and their prices, where a job runs.
export const plan = {
  'judge.under': 'The peak of {peak} is under the line of {line}.',
  'judge.parked': 'The peak of {peak} is {over} above the line of {line}: weights parked on the card, {needed} are needed.',
  'judge.card': 'The card runs out of memory: {needed} must fit, {limit} are there.',
  'judge.floor': '{needed} cannot be paged, the line is at {line}.',
  'judge.workspaces': 'Computing would hold {held} with its kernels’ workspaces, {allowed} are allowed: the card fills up to its edge.',
  'judge.unknown': 'A part of the workflow is not understood, the forecast covers the rest.',
  'price.none': 'unchanged',
  'price.same_picture': 'the same picture',
  'judge.late': '{judged} It takes {time}, which is above the limit of {limit}.',
}
