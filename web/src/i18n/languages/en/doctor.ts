// SPDX-License-Identifier: Apache-2.0
// Doctor.
export const doctor = {
  'doctor.title': 'What is wrong, and what to do',
  'doctor.again': 'Look again',
  'doctor.good': 'Nothing is wrong.',
  'doctor.notice': 'Nothing is wrong; some things are good to know.',
  'doctor.problem': 'Something is wrong: it comes first.',
  'doctor.inOrder': 'In order',
  'doctor.settings': 'Settings in force',
  'doctor.advice': 'What to do:',
  'doctor.from': 'from {source}',
  'health.good': 'good',
  'health.notice': 'to know',
  'health.problem': 'problem',
  'area.ComfyUI': 'ComfyUI',
  'area.flags': 'Flags',
  'area.card': 'Card',
  'area.driver': 'Driver',
  'area.models': 'Models',
  'area.disk': 'Disk',
  'area.configuration': 'Configuration',
  'area.history': 'History',
}
