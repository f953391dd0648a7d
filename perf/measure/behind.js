/**
 * A reader that was away while the log grew by `mib`: how long it takes until it is at the end, and
 * how much memory. The log is simulated: it makes each message when it is read. Prints one JSON line.
 */
import { BODY_FORMAT, encodeEpochBody, encodeNamespacesBody } from '../../dist/cluster/body.js'
import {
  declarationFlags,
  ENVELOPE_LAST_PART,
  KIND,
  sealEnvelope,
} from '../../dist/cluster/envelope.js'
import { openCluster } from '../../dist/cluster/index.js'
import { randomFrom } from '../../dist/demo/random.js'
import { DirtyTracker } from '../../dist/index.js'
import { args, report, unlessQuick } from '../harness/args.js'

const BYTES = unlessQuick(args.mib, 2) * 2 ** 20
const KEYS = 10_000
const NODES = 10
const SETS = 16
/** What one read gives at most. */
const READ_BYTES = 2 ** 21

const random = randomFrom(7)
const sets = await keySets()
const instances = Array.from({ length: NODES }, (_, i) => i.toString(16).padStart(32, '0'))
const total = NODES + Math.ceil(BYTES / sets[0].length)
let bytes = 0
let atEnd = false

/** Message `at` of the log: an OPEN of each node, then their epochs in turn. */
function messageAt(at) {
  const isOpen = at < NODES
  const message = sealEnvelope({
    kind: isOpen ? KIND.OPEN : KIND.EPOCH,
    format: BODY_FORMAT,
    flags: declarationFlags(0) | (isOpen ? 0 : ENVELOPE_LAST_PART),
    node: `node-${at % NODES}`,
    instance: instances[at % NODES],
    n: Math.floor(at / NODES),
    atMs: at,
    body: isOpen
      ? encodeNamespacesBody(undefined)
      : encodeEpochBody({ requests: [], tag: new Uint8Array(0), keys: sets[at % SETS] }),
  })
  bytes += message.length
  return { bytes: message }
}

const source = {
  async read(after) {
    const messages = []
    let at = after === undefined ? 0 : Number(after)
    for (let read = 0; at < total && read < READ_BYTES; at++) {
      messages.push(messageAt(at))
      read += messages.at(-1).bytes.length
    }
    atEnd = at === total
    return { messages, position: String(at), atEnd, log: 'simulated', lost: false }
  },
  nodes: () => new Map(instances.map((instance) => [instance, 'live'])),
  requestCut: async () => {},
  close: async () => {},
}

/** Row ids of 16 parts of a table, as messages have them. */
async function keySets() {
  const tracker = await DirtyTracker.create()
  const writer = tracker.openWriter()
  const made = []
  for (let set = 0; set < SETS; set++) {
    for (let i = 0; i < KEYS; i++) writer.mark((set * KEYS + i) * 80 + Math.floor(random() * 80)) // one row of 80
    await tracker.consume((epoch) => made.push(...epoch.encode()))
  }
  await tracker.stop()
  return made
}

const clock = await startOfLog()
const cluster = openCluster({ source, since: clock, timeoutMs: 600_000 })
let peak = 0
const watch = setInterval(() => {
  peak = Math.max(peak, process.memoryUsage.rss())
}, 20)
const before = process.memoryUsage.rss()
const began = performance.now()
const cpu = process.cpuUsage()
let size = 0
let exact = true
await cluster.ready()
for await (const epoch of cluster.epochs({ everyMs: 50 })) {
  size = Math.max(size, epoch.size)
  exact &&= epoch.exact
  epoch.commit()
  if (atEnd) break
}
const ms = performance.now() - began
const { user, system } = process.cpuUsage(cpu)
clearInterval(watch)
await cluster.close()
report({
  mib: bytes / 2 ** 20,
  seconds: ms / 1000,
  cpuSeconds: (user + system) / 1e6,
  keys: ((total - NODES) * KEYS) / 1e6,
  exact,
  size,
  beforeMib: before / 2 ** 20,
  peakMib: Math.max(peak, process.memoryUsage.rss()) / 2 ** 20,
})

/** A reader's clock at the log's first messages: it was there when all nodes opened. */
async function startOfLog() {
  const whole = source.read
  source.read = async (after) => {
    const messages =
      after === undefined ? Array.from({ length: NODES }, (_, i) => messageAt(i)) : []
    return { messages, position: String(NODES), atEnd: true, log: 'simulated', lost: false }
  }
  const first = openCluster({ source, from: 'now' })
  await first.ready()
  const { clock: position } = first
  await first.close()
  source.read = whole
  return position
}
