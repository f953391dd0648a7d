/**
 * WTF-8 by way of the host's UTF-8, as simply as it can be said: what the library's own writer and
 * reader are compared with.
 */

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

export function wtf8Of(text: string): Uint8Array {
  // The split leaves whole pairs where they are: with the flag "u" they are one character.
  const parts = text.split(/([\ud800-\udfff])/u).map((part) => {
    const unit = part.charCodeAt(0)
    return part.length === 1 && unit >= 0xd800 && unit <= 0xdfff
      ? Uint8Array.of(0xed, 0x80 | ((unit >> 6) & 0x3f), 0x80 | (unit & 0x3f))
      : encoder.encode(part)
  })
  return Uint8Array.from(Buffer.concat(parts))
}

const PAIR_OR_SURROGATE =
  /(\xed[\xa0-\xaf][\x80-\xbf]\xed[\xb0-\xbf][\x80-\xbf])|\xed[\xa0-\xbf][\x80-\xbf]/g

/** Of bytes that are no WTF-8, each part that no text has is U+FFFD. */
export function textOfWtf8(bytes: Uint8Array): string {
  const binary = Buffer.from(bytes).toString('latin1')
  let text = ''
  let from = 0
  for (const match of binary.matchAll(PAIR_OR_SURROGATE)) {
    if (match[1] !== undefined) continue
    const { index } = match
    text += decoder.decode(bytes.subarray(from, index))
    text += String.fromCharCode(
      0xd000 | ((bytes[index + 1] & 0x3f) << 6) | (bytes[index + 2] & 0x3f),
    )
    from = index + 3
  }
  return text + decoder.decode(bytes.subarray(from))
}
