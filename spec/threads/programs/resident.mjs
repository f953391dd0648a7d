/**
 * Trackers that live one after the other, each with a thread: how much of the process's memory is
 * resident meanwhile, and after a collection. Run it by itself:
 *
 * ```sh
 * npm run build && node spec/threads/programs/resident.mjs '{ "kernel": "js" }'
 * ```
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { DirtyTracker } from '../../../dist/index.js'
import { args, verdict } from './support.mjs'
import { sleep } from './threads.mjs'

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc')
const { kernel = 'auto', trackers = 400, keys = 20_000, steps = 8 } = args

const ids = Uint32Array.from({ length: keys }, (_, id) => id)
const residentMiB = () => Math.round(process.memoryUsage().rss / 2 ** 20)

async function live() {
  const tracker = await DirtyTracker.create({ kernel, maxKeysPerEpoch: keys })
  const writer = tracker.openWriter()
  writer.markMany(ids, { atomic: false })
  writer.flush()
  await tracker.consume(({ size }) => size)
  await tracker.stop()
}

await live()
const first = residentMiB()
const meanwhile = []
for (let i = 1; i < trackers; i++) {
  await live()
  if ((i + 1) % Math.floor(trackers / steps) === 0) meanwhile.push(residentMiB())
}
for (let i = 0; i < 5; i++) {
  gc()
  await sleep(100)
}
verdict({ node: process.version, kernel, first, meanwhile, collected: residentMiB() })
