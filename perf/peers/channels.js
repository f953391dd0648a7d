/**
 * The same job over other people's channels; see ../harness/pipeline.js for what receive() and
 * send() are. Installed by the perf suite, in this folder.
 */
import { RingBuffer } from 'ringbuf.js'
import { tableOf } from '../harness/texts.js'

const BATCH = 64
const LANES_IN_FLIGHT = 2 * 16384
/** Of texts: as many bytes as a lane of dirtyring holds. */
const TEXT_WORDS_IN_FLIGHT = 2 ** 17
/** A text of 128 characters, and its length. */
const MOST_TEXT_WORDS = 1 + (3 * 128) / 4

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
  send(storage, buffer) {
    const ring = new RingBuffer(storage, Int32Array)
    const lanes = new Int32Array(buffer)
    return () => {
      for (let at = 0; at < lanes.length;)
        at += ring.push(lanes, Math.min(2 * BATCH, lanes.length - at), at)
    }
  },
}

/**
 * Texts as UTF-8 from one writer, each behind a word with its length in bytes, polled by the main
 * thread, which keeps a Set<string>; see strings.js. Padded to words: its rings copy those faster.
 */
export const ringbufTexts = {
  warmUps: 1,
  receive() {
    const storage = RingBuffer.getStorageForCapacity(TEXT_WORDS_IN_FLIGHT, Int32Array)
    const ring = new RingBuffer(storage, Int32Array)
    const words = new Int32Array(2 * BATCH * MOST_TEXT_WORDS)
    const bytes = Buffer.from(words.buffer)
    const set = new Set()
    let back
    return {
      handles: [storage],
      clear: () => set.clear(),
      settle(count) {
        let end = 0
        for (let received = 0; received < count;) {
          end += ring.pop(words, words.length - end, end)
          let at = 0
          for (let next; at < end; at = next) {
            const from = 4 * (at + 1)
            next = at + 1 + ((words[at] + 3) >> 2)
            if (next > end) break
            set.add(bytes.toString('utf8', from, from + words[at]))
            received++
          }
          words.copyWithin(0, at, end)
          end -= at
        }
        back = []
        for (const key of set) back.push(key)
      },
      result: () => ({ back }),
    }
  },
  send(storage, buffer, { distinct, text }) {
    const ring = new RingBuffer(storage, Int32Array)
    const ids = new Int32Array(buffer)
    const table = tableOf(distinct, text)
    const words = new Int32Array(BATCH * MOST_TEXT_WORDS)
    const bytes = Buffer.from(words.buffer)
    return () => {
      for (let from = 0; from < ids.length; from += BATCH) {
        const to = Math.min(from + BATCH, ids.length)
        let end = 0
        for (let i = from; i < to; i++) {
          words[end] = bytes.write(table[ids[i]], 4 * (end + 1))
          end += 1 + ((words[end] + 3) >> 2)
        }
        // a whole array: its rings copy nothing else by set()
        for (let at = 0; at < end;) at += ring.push(words.subarray(at, end))
      }
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
