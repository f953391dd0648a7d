/**
 * Feeds the decoders of a cluster with random bytes, and with messages that were changed: key
 * messages, bodies and envelopes. Each input must give a typed error, or a result that holds
 * together; it must end, and must not take more memory than the limits of the format allow.
 *
 * npm run cluster:fuzz -- '{"inputs":10000000,"seed":1}' prints one JSON verdict.
 */
import { deflateRawSync } from 'node:zlib'
import {
  decodeBeatBody,
  decodeEpochBody,
  decodeNamespacesBody,
  encodeBeatBody,
  encodeEpochBody,
  encodeNamespacesBody,
  isRequest,
} from '../../dist/cluster/body.js'
import { decodeKeys } from '../../dist/cluster/decode.js'
import { openEnvelope, sealEnvelope } from '../../dist/cluster/envelope.js'
import { KeyUnion } from '../../dist/cluster/union.js'
import { crc32 } from '../../dist/crc32.js'
import { encodeKeys } from '../../dist/epochs/encode.js'
import { encodeForLookup } from '../../dist/keys.js'
import { scratch } from '../../dist/text/encode.js'

/** As epochs/encode.ts and cluster/body.ts have them. */
const RAW_MAX = 2 ** 20
const TEXTS_MAX = 2 ** 23
const LISTED_MAX = 4096

const { inputs = 10_000_000, seed = 1 } = JSON.parse(process.argv[2] ?? '{}')

let state = seed >>> 0
function random(below) {
  state = (state + 0x9e3779b9) >>> 0
  let x = state
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b)
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35)
  return ((x ^ (x >>> 16)) >>> 0) % below
}
const one = (list) => list[random(list.length)]
const randomBytes = (length) => Uint8Array.from({ length }, () => random(256))

/** An epoch's words, as encodeKeys() takes them. */
function encodable(numbers, texts, extra = {}) {
  const pairs = new Int32Array(BigUint64Array.from(numbers).buffer)
  const records = texts.flatMap((text) => {
    const head = encodeForLookup(text)
    return [0, head, ...scratch.words.subarray(0, ((head >>> 1) + 3) >>> 2)]
  })
  return {
    words: Int32Array.from([...pairs, ...records]),
    header: {
      count: numbers.length,
      textCount: texts.length,
      textEnd: records.length,
      flags: 0,
      form: 0,
      fill: 0,
      namespaces: [],
      ...extra,
    },
    log: 0,
    arena: pairs.length,
    filter: undefined,
    isBigint: random(4) === 0,
    hasPrints: random(4) === 0,
  }
}

const LETTERS = ['a', 'b', '/users/', '\0', '\ud800', '\udc00', '\u{1f680}', 'é', '\uffff', '']
const randomText = () => Array.from({ length: random(5) }, () => one(LETTERS)).join('')
const SIZES = [0, 1, 2, 5, 20, 100]

function randomNumbers() {
  const count = one(SIZES)
  const bits = one([4, 12, 33, 53, 64])
  const keys = new Set()
  for (let i = 0; i < count; i++)
    keys.add(BigInt.asUintN(bits, (BigInt(random(2 ** 32)) << 32n) | BigInt(random(2 ** 32))))
  return [...keys]
}

function randomTexts() {
  const texts = Array.from({ length: one(SIZES) }, () =>
    random(3) === 0 ? randomBytes(random(6)) : randomText(),
  )
  return [...new Map(texts.map((text) => [nameOf(text), text])).values()]
}

const nameOf = (key) => (typeof key === 'object' ? `bytes ${key.join()}` : `${typeof key} ${key}`)

/** A filter of 1 to 16 blocks. */
function randomFilter() {
  const blocksLog2 = random(5)
  const words = new Int32Array(2 ** blocksLog2 * 8).map(() => random(2 ** 32) & random(2 ** 32))
  const fill = [...words].reduce(
    (sum, word) => sum + (word >>> 0).toString(2).replaceAll('0', '').length,
    0,
  )
  return { words, filter: { words, at: 0, shift: 31 - blocksLog2, fill, native: undefined }, fill }
}

const FLAG_OVERFLOW = 1

function validKeys() {
  if (random(8) === 0) {
    const { words, filter, fill } = randomFilter()
    const from = encodable([], [], { flags: FLAG_OVERFLOW, form: 2, fill })
    return one(encodeKeys({ ...from, words, filter }, {}))
  }
  const numbers = randomNumbers()
  const texts = randomTexts()
  const from = encodable(numbers, texts)
  const messages = encodeKeys(from, { maxBytes: one([4096, 900_000]) })
  if (messages.length === 1) {
    const { pairs, strings, byteKeys } = decodeKeys(messages[0])
    const back = [...new BigUint64Array(pairs.buffer), ...strings, ...byteKeys]
    const same = (list) => list.map(nameOf).sort().join('\n')
    if (same(back) !== same([...numbers, ...texts])) throw new Error('other keys came back')
  }
  return one(messages)
}

/** A part that says it is short, and inflates to a lot. */
function bomb() {
  const length = one([RAW_MAX - 1, RAW_MAX, RAW_MAX + 1, 2 ** 26])
  const zeros = deflateRawSync(new Uint8Array(length))
  const said = one([length, 16, RAW_MAX])
  const head = [0x44, 0x52, 1, one([1, 2]), 0, 0]
  const counts = head[3] === 1 ? varint(one([1, said])) : [0, ...varint(one([1, said])), 0]
  return crced([...head, ...counts, ...varint(said), ...varint(zeros.length), ...zeros, 0, 0])
}

function varint(value) {
  const bytes = []
  for (; value > 0x7f; value = Math.floor(value / 128)) bytes.push((value % 128) | 0x80)
  return [...bytes, value]
}

/** With a checksum that is right. */
function crced(bytes) {
  const crc = crc32(Uint8Array.from(bytes))
  return Uint8Array.of(...bytes, crc & 255, (crc >>> 8) & 255, (crc >>> 16) & 255, crc >>> 24)
}

const mutations = [
  (bytes) => bytes.fill(random(256), random(bytes.length), random(bytes.length) + 1),
  (bytes) => {
    bytes[random(bytes.length)] ^= 1 << random(8)
    return bytes
  },
  (bytes) => {
    bytes[random(bytes.length)] = one([0, 1, 0x7f, 0x80, 0xff])
    return bytes
  },
  (bytes) => bytes.slice(0, random(bytes.length + 1)),
  (bytes) => bytes.slice(random(bytes.length + 1)),
  (bytes) => {
    const at = random(bytes.length + 1)
    return Uint8Array.of(
      ...bytes.subarray(0, at),
      ...randomBytes(1 + random(8)),
      ...bytes.subarray(at),
    )
  },
  (bytes) => {
    const at = random(bytes.length + 1)
    const huge = varint(one([2 ** 16, 2 ** 20, 2 ** 31, 2 ** 32 - 1, 2 ** 40]))
    return Uint8Array.of(...bytes.subarray(0, at), ...huge, ...bytes.subarray(at + random(3)))
  },
]

function mutated(bytes) {
  let changed = bytes.slice()
  for (let i = random(3); i >= 0 && changed.length > 0; i--) changed = one(mutations)(changed)
  return changed
}

const requests = () => Array.from({ length: random(4) }, () => `r-${random(1000)}`)

/** Every decoder: valid inputs, and what must hold of a result. */
const decoders = {
  keys: {
    valid: validKeys,
    decode: decodeKeys,
    check(message, bytes) {
      const { pairs, strings, stringBytes, byteKeys, filter } = message
      const { everythingIn, precision, reason, hidesTexts } = message
      const texts = stringBytes.reduce((sum, length) => sum + length, 0)
      const byteKeyBytes = byteKeys.reduce((sum, key) => sum + key.length, 0)
      const listed = pairs.length / 2 + strings.length + byteKeys.length
      const numbers = new BigUint64Array(pairs.buffer)
      const isSorted = numbers.every((key, i) => i === 0 || key > numbers[i - 1])
      const isBounded =
        listed <= RAW_MAX &&
        texts + byteKeyBytes <= TEXTS_MAX &&
        (filter?.words.byteLength ?? 0) <= bytes.length &&
        everythingIn.length <= LISTED_MAX
      if (!isSorted || !isBounded) throw new Error('the result does not hold together')
      const isExact = precision === 'exact' && everythingIn.length === 0 && !hidesTexts
      if (isExact !== (reason === undefined)) throw new Error('a reason without a cause')
      strings.forEach((text, i) => {
        if (encodeForLookup(text) >>> 1 !== stringBytes[i]) throw new Error('another text')
      })
      if (listed > 1000 || (filter?.blocksLog2 ?? 0) > 10) return
      const union = new KeyUnion()
      union.add(decodeKeys(bytes))
      for (const key of [...strings, ...byteKeys, ...numbers])
        if (!union.has(key)) throw new Error('a key is lost')
    },
  },
  epoch: {
    valid: () =>
      encodeEpochBody({
        requests: requests(),
        tag: randomBytes(random(65)),
        keys: randomBytes(random(40)),
      }),
    decode: decodeEpochBody,
    check(body, bytes) {
      if (!body.requests.every(isRequest) || body.tag.length > 64) throw new Error('odd body')
      if (Buffer.compare(encodeEpochBody(body), bytes) !== 0) throw new Error('another body')
    },
  },
  beat: {
    valid: () => encodeBeatBody(requests()),
    decode: decodeBeatBody,
    check(body, bytes) {
      if (Buffer.compare(encodeBeatBody(body), bytes) !== 0) throw new Error('another body')
    },
  },
  namespaces: {
    valid: () =>
      encodeNamespacesBody(
        random(5) === 0 ? undefined : Array.from({ length: random(20) }, () => random(2 ** 22)),
      ),
    decode: decodeNamespacesBody,
    check(body, bytes) {
      if (body !== undefined && body.length > LISTED_MAX) throw new Error('too many')
      if (Buffer.compare(encodeNamespacesBody(body), bytes) !== 0) throw new Error('another body')
    },
  },
  envelope: {
    valid: () =>
      sealEnvelope({
        kind: random(256),
        format: random(256),
        flags: random(256),
        node: 'n'.repeat(1 + random(64)),
        instance: Buffer.from(randomBytes(16)).toString('hex'),
        n: random(2 ** 32) * one([1, 2 ** 20]),
        atMs: random(2 ** 32) * 1000,
        body: randomBytes(random(40)),
      }),
    decode: openEnvelope,
    check(envelope, bytes) {
      if (envelope !== undefined && Buffer.compare(sealEnvelope(envelope), bytes) !== 0)
        throw new Error('another envelope')
    },
  },
}

const withoutChecksum = new Set(['epoch', 'beat', 'namespaces'])
const started = performance.now()
const counts = {}
let slowestMs = 0
let undetected = 0
const pool = new Map(Object.keys(decoders).map((name) => [name, []]))
const POOL = 400

for (let i = 0; i < inputs; i++) {
  // Most inputs go to the one decoder that is not a few lines.
  const name = random(10) < 7 ? 'keys' : one(['epoch', 'beat', 'namespaces', 'envelope'])
  const { valid, decode, check } = decoders[name]
  const known = pool.get(name)
  if (known.length < POOL || random(50) === 0) known[random(POOL)] ??= valid()
  if (random(50) === 0) known[random(POOL)] = valid()
  const base = known[random(POOL)] ?? valid()
  let how = one(['random', 'mutated', 'mutated', 'repaired', 'repaired', 'repaired', 'repaired'])
  let bytes
  if (how === 'random') bytes = randomBytes(random(64))
  else if (name === 'keys' && random(20_000) === 0) {
    how = 'bombs'
    bytes = bomb()
  } else bytes = mutated(base)
  if (how === 'repaired' && !withoutChecksum.has(name)) bytes = crced(bytes.subarray(0, -4))
  let outcome
  const from = performance.now()
  try {
    const result = decode(bytes)
    check(result, bytes)
    outcome = result === undefined && name === 'envelope' ? 'refused' : 'accepted'
  } catch (error) {
    if (error.code !== 'ERR_DIRTYRING_BAD_MESSAGE') {
      console.error(name, how, Buffer.from(bytes).toString('hex').slice(0, 4000))
      throw error
    }
    outcome = 'refused'
  }
  // The checksum of 32 bits takes one of 2^32 changes for none.
  const isChecked = how !== 'repaired' && !withoutChecksum.has(name)
  if (outcome === 'accepted' && isChecked && Buffer.compare(bytes, base) !== 0) undetected++
  slowestMs = Math.max(slowestMs, performance.now() - from)
  const key = `${name}, ${how}, ${outcome}`
  counts[key] = (counts[key] ?? 0) + 1
}

console.log(
  JSON.stringify({
    inputs,
    seed,
    undetected,
    counts,
    slowestMs: Math.round(slowestMs * 10) / 10,
    seconds: Math.round((performance.now() - started) / 100) / 10,
    maxRssMiB: Math.round(process.resourceUsage().maxRSS / 1024),
  }),
)
