/** Text keys, the same ones for the same arguments, whatever is measured with them. */
import { randomFrom } from '../../dist/demo/random.js'

/** ASCII of so many characters, and 16 characters of which four are not ASCII. */
export const TEXTS = [8, 16, 32, 128, 'wide']
/** Digits of an id: 8 characters hold no more. */
const DIGITS = 6
const HEAD = 'k:'
const WIDE_HEAD = 'ключ:'
const WIDE_LENGTH = 16

/** As it stands in tables. */
export function nameOf(text) {
  return text === 'wide' ? '20 bytes, not all ASCII' : `${text} bytes`
}

/** The text that a way is about whose name ends with it, behind a comma. */
export function textIn(name) {
  return TEXTS.find((text) => name?.endsWith(`, ${nameOf(text)}`))
}

/**
 * The text key of an id below 1,000,000. It is flat, as a key from a request is: one that V8 puts
 * together of two parts is copied at its first use.
 */
export function textOf(id, text) {
  return Buffer.from(builtText(id, text)).toString()
}

function builtText(id, text) {
  const [head, length] = text === 'wide' ? [WIDE_HEAD, WIDE_LENGTH] : [HEAD, text]
  return head + String(id).padStart(length - head.length, '0')
}

/** The text keys of all ids below `distinct`. */
export function tableOf(distinct, text) {
  return Array.from({ length: distinct }, (_, id) => textOf(id, text))
}

/**
 * `count` ids drawn uniformly from `distinct` ones.
 *
 * @returns {Int32Array} on shared memory
 */
export function uniformIds(count, distinct, seed = 1) {
  const next = randomFrom(seed)
  const ids = new Int32Array(new SharedArrayBuffer(count * 4))
  for (let i = 0; i < count; i++) ids[i] = Math.floor(next() * distinct)
  return ids
}

/** Options of a tracker whose epochs hold so many of those texts. */
export function roomFor(distinct, text) {
  return {
    maxStringsPerEpoch: 2 ** 21,
    maxStringBytesPerEpoch: Math.max(
      2 ** 25,
      2 ** Math.ceil(Math.log2(storedBytes(distinct, text))),
    ),
  }
}

/** So many texts, each padded to words behind two words. Epochs and dictionaries keep them so. */
export function storedBytes(distinct, text) {
  return distinct * (8 + 4 * Math.ceil(Buffer.byteLength(textOf(0, text)) / 4))
}

/**
 * Compares the keys that came back with the ids that were sent: how many of these `expected`, and
 * how many `lost`: keys that did not come back, that came back twice, or that were never sent.
 */
export function compare(keys, sent, distinct, text) {
  const [isSent, isBack] = [1, 2]
  const states = new Uint8Array(distinct)
  let expected = 0
  for (const id of sent) {
    if (states[id] === isSent) continue
    states[id] = isSent
    expected++
  }
  let [right, wrong] = [0, 0]
  for (const key of keys) {
    const id = idOf(key, text)
    if (states[id] === isSent) {
      states[id] = isBack
      right++
    } else wrong++
  }
  return { expected, lost: expected - right + wrong }
}

/** The id of a text key; undefined if it is none. */
export function idOf(key, text) {
  const id = Number(key.slice(-DIGITS))
  return builtText(id, text) === key ? id : undefined
}
