/**
 * What an epoch takes as bytes for another process, and how fast it is written and read: `keys`
 * keys of one kind (KINDS). Best of several passes, because a first pass is mostly compilation.
 * Prints one JSON line.
 */
import { decodeEpoch } from '../../dist/cluster/index.js'
import { randomFrom } from '../../dist/demo/random.js'
import { DirtyTracker, fingerprint } from '../../dist/index.js'
import { args, report, unlessQuick } from '../harness/args.js'

const { kind } = args
const count = unlessQuick(args.keys, 1000)
const PASSES = unlessQuick(15, 2)
const PART = 1000
const random = randomFrom(7)

let page = 0
let left = 0
const KINDS = {
  fingerprints: () => fingerprint(`row ${random()}`),
  // One row of 40 in a table.
  'row ids': () => Math.floor(random() * count * 40),
  // Runs of 1 to 64 pages, far from each other.
  'pages in runs': () => {
    if (left-- <= 0) {
      page += Math.floor(random() * 100_000)
      left = Math.floor(random() * 64)
    }
    return page++
  },
  'texts that begin alike': () => `/users/${Math.floor(random() * 1e7)}/profile`,
  'texts, random letters': () => `${random().toString(36).slice(2)}@example.com`,
}

const tracker = await DirtyTracker.create({ laneTextBytes: 2 ** 24 })
const writer = tracker.openWriter()
const keys = Array.from({ length: count }, KINDS[kind])
for (let i = 0; i < count; i += PART) writer.markMany(keys.slice(i, i + PART))
await tracker.consume((epoch) => {
  let encodeMs = Infinity
  let decodeMs = Infinity
  let messages = []
  for (let pass = 0; pass < PASSES; pass++) {
    const began = performance.now()
    messages = epoch.encode()
    const encoded = performance.now()
    if (decodeEpoch(messages).size !== epoch.size) throw new Error('a key is lost')
    encodeMs = Math.min(encodeMs, encoded - began)
    decodeMs = Math.min(decodeMs, performance.now() - encoded)
  }
  const bytes = messages.reduce((sum, { length }) => sum + length, 0)
  report({
    bytesPerKey: bytes / epoch.size,
    messages: messages.length,
    encode: epoch.size / encodeMs / 1000,
    decode: epoch.size / decodeMs / 1000,
  })
})
await tracker.stop()
