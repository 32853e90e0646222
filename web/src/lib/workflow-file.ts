// SPDX-License-Identifier: Apache-2.0
//
// The workflow inside a dropped file: JSON as it is, or the text chunk "prompt" (API format), else "workflow" (UI format),
// of a PNG that ComfyUI saved. The file is untrusted: every length is checked against what is there.
const kFileBytesMax = 64 * 1024 * 1024 // chosen: the largest picture that ComfyUI saves by default is below
const kSignature = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]

function isObject(value: unknown): value is object { return typeof value === 'object' && value !== null && !Array.isArray(value) }

function parseObject(text: string): object | null {
  try {
    const value: unknown = JSON.parse(text)
    return isObject(value) ? value : null
  } catch {
    return null
  }
}

export function readPngTexts(bytes: Uint8Array): Map<string, string> {
  const texts = new Map<string, string>()
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let at = kSignature.length
  while (at + 12 <= bytes.length) {
    const length = view.getUint32(at)
    const end = at + 8 + length
    if (end + 4 > bytes.length) break
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8))
    const body = bytes.subarray(at + 8, end)
    const zero = body.indexOf(0)
    if (kind === 'tEXt' && zero > 0)
      texts.set(new TextDecoder('latin1').decode(body.subarray(0, zero)), new TextDecoder('latin1').decode(body.subarray(zero + 1)))
    if (kind === 'IEND') break
    at = end + 4
  }
  return texts
}

export function readWorkflow(bytes: Uint8Array): object | null {
  if (bytes.length > kFileBytesMax) return null
  if (!kSignature.every((byte, index) => bytes[index] === byte)) return parseObject(new TextDecoder().decode(bytes))
  const texts = readPngTexts(bytes)
  return parseObject(texts.get('prompt') ?? '') ?? parseObject(texts.get('workflow') ?? '')
}
