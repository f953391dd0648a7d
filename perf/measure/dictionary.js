/**
 * What a KeyDictionary's calls cost on one thread, for one kind of call. Prints one JSON line: ns a
 * call; without a name, the names there are. A process a kind: a call site that has seen one kind
 * of key is what applications have.
 */
import { KeyDictionary } from '../../dist/index.js'
import { args, report, unlessQuick } from '../harness/args.js'

const KEYS = unlessQuick(100_000, 1000)
const ROUNDS = unlessQuick(15, 2)
/** Of keys that are new, so that none comes twice. */
const FRESH = KEYS * ROUNDS

const { name } = args
const textOf = (i, length = 16) => `user:${String(i).padStart(length - 5, '0')}`
const bytesOf = (text) => new TextEncoder().encode(text)

// In an order that is not that of memory, as an application's keys come.
const order = Array.from({ length: KEYS }, (_, i) => (i * 7919) % KEYS)
const isLarge = /new|3 million/.test(name ?? '')
const dictionary = KeyDictionary.create({ maxKeys: isLarge ? 2 * FRESH : 2 * KEYS })
const known = (keys) => {
  for (const key of keys) dictionary.id(key)
  return order.map((i) => keys[i])
}
const list = (make, count = KEYS) => Array.from({ length: count }, (_, i) => make(i))
const ids = (keys) => known(keys).map((key) => dictionary.id(key))

/** Each: what is called once for every key of the list. */
const calls = {
  'empty loop': () => ({ keys: known(list((i) => textOf(i))), call: (key) => key.length }),
  'Map of 16-byte strings, get()': () => {
    const keys = known(list((i) => textOf(i)))
    const map = new Map(keys.map((key, i) => [key, i]))
    return { keys, call: (key) => map.get(key) }
  },
  'id(string), known, 16 bytes': () => ({
    keys: known(list((i) => textOf(i))),
    call: (key) => dictionary.id(key),
  }),
  'id(string), known, 16 bytes, of 3 million places': () => ({
    keys: known(list((i) => textOf(i))),
    call: (key) => dictionary.id(key),
  }),
  'id(string), known, 32 bytes': () => ({
    keys: known(list((i) => textOf(i, 32))),
    call: (key) => dictionary.id(key),
  }),
  'id(string), known, not ASCII, 17 bytes': () => ({
    keys: known(list((i) => `é${textOf(i, 15)}`)),
    call: (key) => dictionary.id(key),
  }),
  'id(bytes), known, 16 bytes': () => ({
    keys: known(list((i) => bytesOf(textOf(i)))),
    call: (key) => dictionary.id(key),
  }),
  'find(string), unknown, 16 bytes': () => {
    known(list((i) => textOf(i)))
    return { keys: list((i) => textOf(i + KEYS)), call: (key) => dictionary.find(key) }
  },
  'id(string), new, 16 bytes': () => ({
    keys: list((i) => textOf(i), FRESH),
    call: (key) => dictionary.id(key),
  }),
  'key(id), 16 bytes': () => ({
    keys: ids(list((i) => textOf(i))),
    call: (id) => dictionary.key(id).length,
  }),
  'key(id), not ASCII, 17 bytes': () => ({
    keys: ids(list((i) => `é${textOf(i, 15)}`)),
    call: (id) => dictionary.key(id).length,
  }),
  'bytes(id), 16 bytes': () => ({
    keys: ids(list((i) => textOf(i))),
    call: (id) => dictionary.bytes(id).length,
  }),
}

if (name === undefined) {
  report(Object.keys(calls))
} else {
  const { keys, call } = calls[name]()
  const samples = []
  let sink = 0
  for (let round = 0; round < ROUNDS; round++) {
    const from = (round * KEYS) % keys.length
    const before = process.hrtime.bigint()
    for (let i = from; i < from + KEYS; i++) sink += call(keys[i])
    samples.push(Number(process.hrtime.bigint() - before) / KEYS)
  }
  if (Number.isNaN(sink) && !name.includes('unknown')) throw new Error('a call returned no number')
  samples.sort((a, b) => a - b)
  report(samples[samples.length >> 1])
}
