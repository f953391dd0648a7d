/**
 * The same job over other people's channels; see pipeline.js for what receive() and send() are.
 * Installed by the perf suite, in this folder.
 */
import { RingBuffer } from 'ringbuf.js'

const BATCH = 64
const LANES_IN_FLIGHT = 2 * 16384

/**
 * One single-producer ring a writer, polled in turn by the main thread, which keeps a Set<bigint>.
 * Two 32-bit words a key: its rings copy those faster.
 */
export const ringbuf = {
  warmUps: 1,
  receive({ writers }) {
    const storages = Array.from({ length: writers }, () =>
      RingBuffer.getStorageForCapacity(LANES_IN_FLIGHT, Int32Array),
    )
    const rings = storages.map((storage) => new RingBuffer(storage, Int32Array))
    const lanes = new Int32Array(2 * BATCH)
    const keys = new BigUint64Array(lanes.buffer)
    const set = new Set()
    return {
      handles: storages,
      clear: () => set.clear(),
      settle(count) {
        for (let received = 0; received < count;) {
          for (const ring of rings) {
            const n = ring.pop(lanes) / 2
            for (let i = 0; i < n; i++) set.add(keys[i])
            received += n
          }
        }
      },
      result: () => ({ distinctSeen: set.size }),
    }
  },
  send(storage, keys) {
    const ring = new RingBuffer(storage, Int32Array)
    const lanes = new Int32Array(keys.buffer)
    return (count) => {
      for (let at = 0; at < 2 * count;)
        at += ring.push(lanes, Math.min(2 * BATCH, 2 * count - at), at)
    }
  },
}

/** Batches of words from one producer, polled by the main thread; see ring.js. */
export const ringbufBatches = {
  receive(batch) {
    const storage = RingBuffer.getStorageForCapacity(LANES_IN_FLIGHT, Int32Array)
    const ring = new RingBuffer(storage, Int32Array)
    const lanes = new Int32Array(2 * batch)
    const words = new BigUint64Array(lanes.buffer)
    return {
      handle: storage,
      receive(tally, count) {
        while (tally.count < count) tally.take(words, ring.pop(lanes) / 2)
      },
    }
  },
  send(storage, batch) {
    const ring = new RingBuffer(storage, Int32Array)
    const lanes = new Int32Array(2 * batch)
    return (count) => {
      for (let at = 0; at < count; at += batch) {
        for (let i = 0; i < batch; i++) lanes[2 * i] = at + i + 1
        for (let sent = 0; sent < lanes.length;) sent += ring.push(lanes, lanes.length - sent, sent)
      }
    }
  },
}
