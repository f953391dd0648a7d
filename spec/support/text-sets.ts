import { encodeForLookup } from '../../lib/keys.js'
import type { SharedWords } from '../../lib/memory/map.js'
import { keyedHash } from '../../lib/set/sip.js'
import { scratch } from '../../lib/text/encode.js'

/** A text key as a lane and an arena have it. */
export interface Encoded {
  readonly head: number
  readonly words: Int32Array
}

export function encoded(key: string | Uint8Array): Encoded {
  const head = encodeForLookup(key)
  return { head, words: scratch.words.slice(0, ((head >>> 1) + 3) >>> 2) }
}

/** Two texts that the table of a set with these secrets takes for each other, but for the words. */
export function twoOfOneKeyedHash({
  key0,
  key1,
}: {
  readonly key0: number
  readonly key1: number
}): [string, string] {
  const seen = new Map<number, string>()
  for (let i = 0; ; i++) {
    // of one length, because the length is a part of the hash and of the comparison
    const text = `key:${String(i).padStart(8, '0')}`
    const { head, words } = encoded(text)
    const hash = keyedHash(words as SharedWords, 0, head, key0, key1)
    const other = seen.get(hash)
    if (other !== undefined) return [other, text]
    seen.set(hash, text)
  }
}

/** Text of all kinds, and what looks like it. */
export const TEXTS: readonly [what: string, text: string][] = [
  ['the empty text', ''],
  ['NUL', '\0'],
  ['four NULs', '\0\0\0\0'],
  ['five NULs', '\0\0\0\0\0'],
  ['text with NULs inside and at its end', 'a\0b\0'],
  ['one character', 'a'],
  ['four characters', 'abcd'],
  ['five characters', 'abcde'],
  ['the last character of each length in UTF-8', '\x7f\u07ff\uffff\u{10ffff}'],
  ['astral text', '\u{1f680}\u{10000}'],
  ['a lone high surrogate', 'a\ud800'],
  ['a lone low surrogate', '\udc00b'],
  ['two surrogates in the wrong order', '\udc00\ud800'],
  ['a lone surrogate before a whole pair', '\ud83d\ud83d\ude80'],
  ['U+FFFD, that is no lone surrogate', '\ufffd'],
  ['a byte order mark', '\ufeffa'],
  ['composed text', '\u00e9'],
  ['the same, decomposed', 'e\u0301'],
  ['digits', '7'],
  ['a name of Object.prototype', '__proto__'],
  ['64 KiB of ASCII', 'x'.repeat(2 ** 16)],
  ['64 KiB of astral text', '\u{1f680}'.repeat(2 ** 14)],
  ['64 KiB of lone surrogates', '\ud800'.repeat(21845)],
]
