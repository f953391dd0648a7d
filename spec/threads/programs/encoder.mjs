/** Large epochs are encoded on another thread, and on this one if that thread does not run. */
import { createEncoder } from '../../../dist/cluster/encoder.js'
import { decodeEpoch } from '../../../dist/cluster/index.js'
import { encodeSealed } from '../../../dist/epochs/sealed-epoch.js'
import { DirtyTracker } from '../../../dist/index.js'
import { verdict } from './support.mjs'

const tracker = await DirtyTracker.create({ aggregator: 'inline' })
const writer = tracker.openWriter()

/** Encodes an epoch of so many keys. Returns whether the messages are what encode() gives. */
async function encodes(encoder, keys, options) {
  for (let id = 0; id < keys; id++) writer.mark(id % 2 === 0 ? id * 7 : `/users/${id}`)
  return tracker.consume(async (epoch) => {
    const messages = await encoder.encodeEpoch(epoch, options)
    const same = encodeSealed(epoch, options ?? {})
    return (
      messages.length === same.length &&
      messages.every((bytes, i) => Buffer.compare(bytes, same[i]) === 0) &&
      decodeEpoch(messages).has(0)
    )
  })
}

/** How many threads were started while `use` ran. */
async function startedBy(use) {
  let started = 0
  const count = () => started++
  process.on('worker', count)
  const result = await use()
  process.off('worker', count)
  return { result, started }
}

async function withEncoder(options, use) {
  const warnings = []
  const encoder = createEncoder({ ...options, onWarning: (text) => warnings.push(text) })
  const { result, started } = await startedBy(() => use(encoder))
  await encoder.close()
  return { result, started, warnings: warnings.length }
}

const script = (text) => new URL(`data:text/javascript,${encodeURIComponent(text)}`)
const twice = async (encoder) => [await encodes(encoder, 600), await encodes(encoder, 700)]

verdict({
  small: await withEncoder({}, twice),
  large: await withEncoder({ onThreadFrom: 500 }, twice),
  split: await withEncoder({ onThreadFrom: 500 }, (encoder) =>
    encodes(encoder, 2000, { maxBytes: 4096, text: 'fingerprint' }),
  ),
  // As where a bundler has left the file out.
  missing: await withEncoder(
    { onThreadFrom: 500, script: new URL('./no-such-file.mjs', import.meta.url) },
    twice,
  ),
  // As where a policy forbids threads.
  refused: await withEncoder({ onThreadFrom: 500, script: new URL('https://example.com/') }, twice),
  // A thread that dies at its first job.
  dying: await withEncoder(
    {
      onThreadFrom: 500,
      script: script(
        "import('node:worker_threads').then(({ parentPort }) => parentPort.on('message', () => process.exit(3)))",
      ),
    },
    twice,
  ),
  closed: await withEncoder({ onThreadFrom: 500 }, async (encoder) => {
    for (let id = 0; id < 600; id++) writer.mark(id)
    const epoch = await tracker.advanceEpoch()
    const pending = encoder.encodeEpoch(epoch)
    await encoder.close()
    const size = decodeEpoch(await pending).size
    epoch.commit()
    return [size, await encodes(encoder, 700)]
  }),
  settled: await withEncoder({ onThreadFrom: 500 }, async (encoder) => {
    for (let id = 0; id < 600; id++) writer.mark(id)
    const epoch = await tracker.advanceEpoch()
    epoch.commit()
    return encoder.encodeEpoch(epoch).catch(({ name, code }) => ({ name, code }))
  }),
})
// The process ends by itself: the thread of an encoder that was not closed keeps none alive.
await encodes(createEncoder({ onThreadFrom: 500 }), 600)
await tracker.stop()
