// SPDX-License-Identifier: Apache-2.0
// Goal: a workflow is found in JSON and in a PNG's text, and a file that lies about its lengths yields nothing. Method: bytes made here.
import { expect, test } from 'vitest'
import { readWorkflow } from '../../src/lib/workflow-file'

const text = (value: string): Uint8Array => new TextEncoder().encode(value)
function png(key: string, value: string, claimed?: number): Uint8Array {
  const body = text(`${key}\0${value}`)
  const bytes = new Uint8Array(8 + 12 + body.length)
  bytes.set([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
  new DataView(bytes.buffer).setUint32(8, claimed ?? body.length)
  bytes.set(text('tEXt'), 12)
  bytes.set(body, 16)
  return bytes
}
test('JSON is taken as it is', () => { expect(readWorkflow(text('{"3":{}}'))).toEqual({ 3: {} }) })
test('the prompt chunk of a PNG is taken', () => { expect(readWorkflow(png('prompt', '{"3":{}}'))).toEqual({ 3: {} }) })
test('a chunk longer than the file is not read', () => { expect(readWorkflow(png('prompt', '{"3":{}}', 0xffffffff))).toBeNull() })
test('a list or plain text is no workflow', () => { expect([readWorkflow(text('[1]')), readWorkflow(text('hello'))]).toEqual([null, null]) })
