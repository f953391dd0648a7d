/**
 * What a cut costs with so many named consumers (0: the tracker itself) that cut in turn, so that
 * each of the others has a backlog. Each cut seals `keys` keys that are in no backlog: numbers, or
 * texts of `text` bytes. Prints one JSON line. Histograms, in µs: a cut, from the call to the
 * hand-out; a cut and all its merges, from the call until the aggregator has nothing left to do; and
 * cuts of all consumers at once, from the call to the last hand-out.
 */
import { DirtyTracker } from '../../dist/index.js'
import { CUR, JOB, PLAN_COUNTS, planAt } from '../../dist/memory/map.js'
import { attachMemory } from '../../dist/memory/memory.js'
import { epochOfJob, indexOfJob } from '../../dist/memory/plan.js'
import { EPOCH_MASK, epochOfCur } from '../../dist/ring/token.js'
import { args, report, unlessQuick } from '../harness/args.js'
import { Histogram } from '../harness/histogram.js'
import { everyKey } from '../harness/keys.js'
import { roomFor, tableOf } from '../harness/texts.js'

const { consumers: count, text, kernel = 'auto' } = args
const keys = unlessQuick(args.keys, args.keys / 100)
/** More than there are consumers: what one cut seals is in no backlog. */
const WINDOWS = 8
/** Of each kind. */
const TIMES = unlessQuick(Math.max(28, Math.min(200, Math.round(2e6 / keys))), 2)
/** Not counted: until all have backlogs, and the code is compiled. */
const WARM_UP = unlessQuick(Math.max(14, TIMES / 4), 14)

const tracker = await DirtyTracker.create({
  maxConsumers: count,
  kernel,
  ...(text === undefined ? { maxStringsPerEpoch: 0 } : roomFor(WINDOWS * keys, text)),
})
const { words } = attachMemory(tracker.handle, 'tracker')
const writer = tracker.openWriter()
const readers = Array.from({ length: count }, (_, i) =>
  tracker.consumer(`consumer ${i}`, { from: 'now' }),
)
if (count === 0) readers.push(tracker)
/** Of each reader: how many keys are sealed that it has not been handed. */
const due = readers.map(() => 0)
const markWindow = text === undefined ? numbers() : texts()
const result = { merges: 0, lost: 0 }
const [cuts, done, together] = [new Histogram(), new Histogram(), new Histogram()]
let window = 0
let turn = 0

for (let i = -WARM_UP; i < TIMES; i++) await timeCut(i >= 0 ? cuts : undefined)
for (let i = 0; i < TIMES; i++) await timeMerges()
for (let i = 0; i < TIMES / 4; i++) {
  for (let k = 1; k < readers.length; k++) await timeCut()
  await timeTogether()
}
await tracker.stop()
report({
  ...result,
  cut: cuts.summary(),
  done: done.summary(),
  together: together.summary(),
})

async function timeCut(times) {
  await mark()
  const reader = nextReader()
  const began = performance.now()
  const epoch = await readers[reader].advanceEpoch()
  times?.add((performance.now() - began) * 1000)
  settle(reader, epoch)
}

/** This thread looks at the aggregator's words, because it is told of no merge but its own. */
async function timeMerges() {
  await mark()
  const reader = nextReader()
  const { epoch: id } = tracker
  const began = performance.now()
  const cut = readers[reader].tryAdvanceEpoch()
  while (epochOfCur(Atomics.load(words, CUR)) === (id & EPOCH_MASK));
  if (count > 0) while (epochOfJob(Atomics.load(words, JOB)) !== (id & EPOCH_MASK));
  while (!isIdle());
  done.add((performance.now() - began) * 1000)
  if (count > 0) result.merges = mergesOf(id)
  settle(reader, await cut)
}

async function timeTogether() {
  await mark()
  const began = performance.now()
  const epochs = await Promise.all(readers.map((reader) => reader.advanceEpoch()))
  together.add((performance.now() - began) * 1000)
  for (const [i, epoch] of epochs.entries()) settle(i, epoch)
}

/** Marks what the next cut seals, and waits until the aggregator has nothing to do. */
async function mark() {
  markWindow(window++ % WINDOWS)
  for (let i = 0; i < due.length; i++) due[i] += keys
  await tracker.drained()
  while (!isIdle()) await tracker.drained()
}

function isIdle() {
  const job = Atomics.load(words, JOB)
  const epoch = epochOfJob(job)
  return epoch < 0 || indexOfJob(job) === mergesOf(epoch)
}

function mergesOf(epoch) {
  return words[planAt(epoch) + PLAN_COUNTS] & 0xff
}

function nextReader() {
  return turn++ % readers.length
}

function settle(reader, epoch) {
  if (!epoch.exact || epoch.size !== due[reader])
    result.lost += Math.abs(due[reader] - epoch.size) + 1
  due[reader] = 0
  epoch.commit()
}

function numbers() {
  const lanes = new Int32Array(everyKey(0, WINDOWS * keys).buffer)
  return (at) =>
    writer.markPairs(lanes.subarray(2 * at * keys, 2 * (at + 1) * keys), { atomic: false })
}

function texts() {
  const table = tableOf(WINDOWS * keys, text)
  return (at) => {
    for (let i = at * keys; i < (at + 1) * keys; i++) writer.mark(table[i])
  }
}
