// SPDX-License-Identifier: Apache-2.0
// Doctor.
export const doctor = {
  'doctor.title': '哪里有问题，该怎么办',
  'doctor.again': '重新检查',
  'doctor.good': '一切正常。',
  'doctor.notice': '没有问题；有些事项值得了解。',
  'doctor.problem': '存在问题：列在最前。',
  'doctor.inOrder': '正常项',
  'doctor.settings': '生效的设置',
  'doctor.advice': '建议：',
  'doctor.from': '来自 {source}',
  'health.good': '正常',
  'health.notice': '提示',
  'health.problem': '问题',
  'area.ComfyUI': 'ComfyUI',
  'area.flags': '启动参数',
  'area.card': '显卡',
  'area.driver': '驱动',
  'area.models': '模型',
  'area.disk': '磁盘',
  'area.configuration': '配置',
  'area.history': '历史',
}
