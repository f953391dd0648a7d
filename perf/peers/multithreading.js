/**
 * The same job over the channel of `multithreading`, which starts its threads itself: batches of 64
 * keys, as arrays of lanes, to a Set<bigint> on the main thread. Few keys: it delivers some hundred
 * batches a second where it runs at all. Prints one JSON line.
 */
import { args, report } from '../harness/args.js'
import { Seen, uniformKeys } from '../harness/keys.js'

const BATCH = 64
const IN_FLIGHT = 64
const { distinct, count = 12_800 } = args
const { channel, move, spawn } = await import('multithreading')

const keys = uniformKeys(count, distinct)
const lanes = Array.from(new Int32Array(keys.buffer))
const set = new Set()
const [sender, receiver] = channel(IN_FLIGHT)
const sending = spawn(move(sender, lanes, 2 * BATCH), async (to, all, size) => {
  for (let at = 0; at < all.length; at += size) await to.send(all.slice(at, at + size))
}).join()
const began = performance.now()
const cpuBefore = process.cpuUsage()
for (let received = 0; received < count;) {
  const { ok, value, error } = await receiver.recv()
  if (!ok) throw error
  const batch = new BigUint64Array(Int32Array.from(value).buffer)
  for (let i = 0; i < batch.length; i++) set.add(batch[i])
  received += batch.length
}
const ms = performance.now() - began
const { user, system } = process.cpuUsage(cpuBefore)
const { ok, error } = await sending
if (!ok) throw error
const expected = Seen.of(distinct, [new Int32Array(keys.buffer)]).size
report({
  count,
  ms,
  mKeysPerSecond: count / ms / 1000,
  cpuSeconds: (user + system) / 1e6,
  cpuNs: ((user + system) * 1000) / count,
  expected,
  lost: expected - set.size,
})
process.exit()
