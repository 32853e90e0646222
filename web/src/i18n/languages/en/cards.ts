// SPDX-License-Identifier: Apache-2.0
// Card what-if.
export const cards = {
  'cards.title': 'The same job on another card',
  'cards.add': 'Add a card',
  'cards.remove': 'Remove {name}',
  'cards.none': 'Add a card to see the job on it.',
  'cards.job': 'Job: {model}, {size}, {steps} steps',
  'cards.change': 'change the job',
  'cards.choose': '{count} cards to choose from',
  'cards.line': 'Load line',
  'cards.lineOwn': 'of each card: its memory less the margin',
  'cards.lineMine': 'of this machine, for all',
  'cards.table': 'The cards side by side',
  'cards.verdict': 'Verdict',
  'cards.memory': 'Memory',
  'cards.peak': 'Peak',
  'cards.floor': 'Needed at least',
  'cards.seconds': 'Time',
}
