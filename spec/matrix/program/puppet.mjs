/** The other thread of a case: it does what the case tells it, one call after the other. */
import {
  attachEpoch,
  BatchRing,
  KeyDictionary,
  openWriter,
  runAggregator,
  runtimeSupport,
  TxnBuffer,
} from 'dirtyring'

let writer
let ring
let producer

const acts = {
  support: () => runtimeSupport(),
  open({ handle }) {
    writer = openWriter(handle)
    return writer.id
  },
  /** Marks, and publishes nothing by itself if the batch is not full. */
  mark({ keys, how = 'mark', flush = false }) {
    const answers = how === 'mark' ? keys.map((key) => writer.mark(key)) : [writer[how](keys)]
    if (flush) answers.push(writer.flush())
    return answers.every((answer) => answer)
  },
  /** Marks from, …, to - 1; the thread does not turn meanwhile. */
  markRange({ from, to, flush = true }) {
    let stored = 0
    for (let id = from; id < to; id++) if (writer.mark(id)) stored++
    if (flush) writer.flush()
    return stored
  },
  /** Marks until a mark is refused or throws. */
  fill({ most }) {
    for (let id = 0; id < most; id++) {
      try {
        if (!writer.mark(id)) return { stored: id, code: 'answered false' }
      } catch (error) {
        return { stored: id, code: error.code }
      }
    }
    return { stored: most, code: 'no end' }
  },
  /** Marks ever on, in turns of its event loop, until told to stop marking. */
  markOn({ from, beat }) {
    const view = new Int32Array(beat)
    let id = from
    return new Promise((resolve) => {
      const turn = () => {
        try {
          for (let i = 0; i < 50; i++, id++) {
            writer.mark(id)
            Atomics.store(view, 0, id - from + 1)
          }
        } catch (error) {
          resolve({ stored: id - from, code: error.code })
          return
        }
        setTimeout(turn, 0)
      }
      turn()
    })
  },
  /** Marks in a batch that does not return: the thread is terminated inside it. */
  batchForEver({ keys, beat }) {
    const view = new Int32Array(beat)
    writer.batch(() => {
      for (const key of keys) writer.mark(key)
      for (;;) Atomics.add(view, 0, 1)
    })
  },
  batch({ keys, error }) {
    return writer.batch(() => {
      for (const key of keys) writer.mark(key)
      if (error !== undefined) throw new Error(error)
      return keys.length
    })
  },
  txn({ keys, forgotten }) {
    const txn = new TxnBuffer(1)
    for (const key of forgotten) txn.mark(key)
    txn.clear()
    txn.markMany(keys)
    const { size } = txn
    return { size, stored: txn.flushTo(writer), left: txn.size }
  },
  waitForRoom: ({ keys }) => writer.waitForRoom(keys),
  stats: () => ({ staged: writer.staged, room: writer.room, closed: writer.closed }),
  close: () => writer.close(),

  /** Resolves when the tracker has stopped, so the caller does not wait for it. */
  aggregate({ handle }) {
    runAggregator(handle).catch((error) => {
      setTimeout(() => {
        throw error
      })
    })
  },

  attach: ({ handle }) => [...attachEpoch(handle)],

  aggregateAndWait: ({ handle }) => runAggregator(handle),
  drain: ({ handle }) => BatchRing.attach(handle).drain(() => undefined),

  dictionary({ handle, keys }) {
    const dictionary = KeyDictionary.attach(handle)
    return keys.map((key) => dictionary.id(key))
  },

  produce({ handle, batches }) {
    ring ??= BatchRing.attach(handle)
    producer ??= ring.openProducer()
    const pushed = batches.map((batch) => producer.push(BigUint64Array.from(batch)))
    return { id: producer.id, pushed }
  },
  /** Pushes a batch after a while. The consumer sleeps meanwhile. */
  async produceLater({ handle, batch, afterMs }) {
    await new Promise((resolve) => setTimeout(resolve, afterMs))
    return acts.produce({ handle, batches: [batch] })
  },
}

/** Answers the calls that come through `port`: { receive(listener), send(message) }. */
export function answer(port) {
  port.receive(async ({ call, act, args }) => {
    if (call === undefined) return
    try {
      port.send({ call, result: await acts[act](args ?? {}) })
    } catch (error) {
      port.send({ call, error: { message: String(error), code: error?.code } })
    }
  })
}
