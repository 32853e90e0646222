// SPDX-License-Identifier: Apache-2.0
// Card what-if.
export const cards = {
  'cards.title': '同一任务换一张卡',
  'cards.add': '添加显卡',
  'cards.remove': '移除 {name}',
  'cards.none': '添加一张显卡以查看任务在其上的表现。',
  'cards.job': '任务：{model}，{size}，{steps} 步',
  'cards.change': '更改任务',
  'cards.choose': '共 {count} 张显卡可选',
  'cards.line': '载重线',
  'cards.lineOwn': '各显卡自己的：显存减去余量',
  'cards.lineMine': '本机的，统一适用',
  'cards.table': '显卡对照表',
  'cards.verdict': '结论',
  'cards.memory': '显存',
  'cards.peak': '峰值',
  'cards.floor': '最低需要',
  'cards.seconds': '时间',
}
