// SPDX-License-Identifier: Apache-2.0
//
// Builds the npm package plimsoll-client out of src/lib into client/dist: modules for browsers and Node, with their types.
import { spawnSync } from 'node:child_process'
import { copyFileSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const dist = join(here, 'dist')

function run(...command) {
  const done = spawnSync(process.execPath, command, { cwd: dirname(here), stdio: ['ignore', 'ignore', 'inherit'] })
  if (done.status !== 0) throw new Error(`${command.join(' ')} failed`)
}

rmSync(dist, { recursive: true, force: true })
run('node_modules/openapi-typescript/bin/cli.js', '../docs/openapi.yaml', '-o', 'src/lib/contract.ts')
run('node_modules/typescript/bin/tsc', '-p', 'client')
// src/lib leaves out the ends of its modules' names, as bundlers have it; Node wants them.
for (const name of readdirSync(dist)) {
  const file = join(dist, name)
  writeFileSync(file, readFileSync(file, 'utf8').replace(/(from\s+|import\()(['"])(\.\/[\w-]+)\2/g, '$1$2$3.js$2'))
}
copyFileSync(join(here, '../../LICENSE'), join(here, 'LICENSE'))
