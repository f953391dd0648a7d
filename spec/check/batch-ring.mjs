/**
 * What a BatchRing's scenarios stand in: producers that push and close, which may die, and one
 * consumer. The oracle goes by the order in which ring slots were filled: the consumer is handed
 * those batches, each once, in that order, and when everything is consumed every lane of a closed
 * producer is free.
 *
 *   { name, model: batchRing, memory: {…}, threads: { producerA: function* (w) {…}, consumer: function* (w) {…} } }
 *
 * A thread whose name begins with "producer" can be killed.
 */
import { attempt, currentThread, drive, forget, read, say, until } from './parts.mjs'
import { DEAD, Failure, mix } from './runtime.mjs'

const noClock = { armed: true, arm: () => undefined }
/** From here on a thread's state says that it has ended. */
const ENDED = 2
/** The checker counts no time: a sleep with an end is one that a death may end. */
const SLEEP_MS = 100
const SMALL = { capacity: 2, laneCapacity: 2, maxWriters: 2 }
const UNUSED = {
  epochSlots: 0,
  maxKeysPerEpoch: 0,
  laneTextBytes: 0,
  maxStringsPerEpoch: 0,
  maxStringBytesPerEpoch: 0,
  flushIntervalMs: 0,
  maxWaitMs: 0,
  onFull: 'reject',
}

export function setUp(core, scenario) {
  const settings = { ...SMALL, ...UNUSED, ...scenario.memory }
  const { words, layout } = core.createMemory({ ...settings, batchSize: settings.laneCapacity }, [])
  const memory = { words, layout }
  drive(core.startAt(memory, scenario.start ?? {}))
  return { memory }
}

export const racyWords = (core, { layout }) => {
  const racy = new Set()
  for (let writer = 0; writer < layout.maxWriters; writer++)
    racy.add(core.laneAt(layout, writer) + core.LANE_ATTN)
  return (i) => racy.has(i)
}

export function unimportantWords(core, { layout }) {
  const words = new Set()
  for (let writer = 0; writer < layout.maxWriters; writer++)
    words.add(core.laneAt(layout, writer) + core.LANE_BATCHES + 1)
  return (i) => words.has(i)
}

export function namer(core, { layout }) {
  return (i) => {
    if (i >= layout.lanes)
      return `lane${Math.floor((i - layout.lanes) / layout.laneStride)}+${(i - layout.lanes) % layout.laneStride}`
    if (i >= layout.ring) return `slot[${i - layout.ring}]`
    return i === core.TAIL ? 'TAIL' : i === core.HEAD ? 'HEAD' : `word ${i}`
  }
}

export class World {
  constructor(core, scenario, { memory }, run) {
    this.core = core
    this.scenario = scenario
    this.memory = memory
    this.words = memory.words
    this.run = run
    /**
     * Batches in the order in which their slots were filled, and those that the consumer was
     * handed.
     */
    this.filled = []
    this.handed = []
    /** Of each producer the keys whose push() returned true. */
    this.pushed = []
    this.results = {}
  }

  start() {
    const { run, core, memory } = this
    const { layout } = memory
    run.watch = (thread, i, old, now) => {
      if (
        i < layout.ring ||
        i >= layout.ring + layout.capacity ||
        (old & 1) !== 0 ||
        (now & 1) === 0
      )
        return
      const token = core.tokenOf(now)
      run.known = mix(run.known, mix(token, thread.id))
      if ((token & core.BATCH) === 0) return
      const writer = (token & (core.BATCH - 1)) >>> layout.laneBits
      const end = this.words[core.laneAt(layout, writer) + core.LANE_STAGED_END]
      const count = (token & (layout.laneCapacity - 1)) + 1
      this.filled.push(this.#keysOf(writer, (end - count) | 0, count))
    }
    for (const [name, body] of Object.entries(this.scenario.threads)) {
      run.spawn(name, () => body(this), {
        killable: name.startsWith('producer') && this.scenario.kills !== false,
      })
    }
  }

  #keysOf(writer, start, count) {
    const { core, memory, words } = this
    const at = core.laneAt(memory.layout, writer) + core.LANE_KEYS
    return Array.from(
      { length: count },
      (_, k) => words[at + (((start + k) & (memory.layout.laneCapacity - 1)) << 1)],
    )
  }

  // --------------------------------------------------------------------------------------- threads

  *open() {
    const { core, memory } = this
    let lane
    yield* until(function* () {
      lane = yield* core.openLane(
        memory,
        currentThread().id + 10,
        memory.layout.laneCapacity,
        noClock,
      )
      return typeof lane !== 'string'
    })
    forget(lane)
    return lane
  }

  /** push(): true if the batch is in the ring; else nothing of it is. */
  *push(lane, keys) {
    const lanes = keys.flatMap((key) => [key, 0])
    const before = lane.end
    const done = yield* this.core.publishMany(lane, lanes, keys.length)
    if (done) this.pushed.push(...keys)
    else if (lane.end !== before)
      throw new Failure('invariant', 'push() was false, and has staged something')
    say(done)
    forget(lane)
    return done
  }

  *pushWaiting(lane, keys) {
    const push = this.push.bind(this)
    yield* until(function* () {
      return yield* push(lane, keys)
    })
  }

  *close(lane) {
    const { core } = this
    yield* until(function* () {
      return yield* core.closeLane(lane)
    })
  }

  /** drain(): hand out what there is; with exceptions planted in onBatch. */
  *drain() {
    const { core, memory, words } = this
    for (;;) {
      const token = yield* core.takeToken(memory)
      if (token === undefined) return
      try {
        if (token.lane >= 0) {
          const keys = []
          for (let k = 0; k < token.count; k++) {
            keys.push(
              yield* read(
                words,
                token.lane +
                  core.LANE_KEYS +
                  (((token.start + k) & (memory.layout.laneCapacity - 1)) << 1),
              ),
            )
          }
          this.handed.push(keys)
        }
      } finally {
        yield* core.passToken(memory, token)
      }
      say(this.handed.length)
    }
  }

  /**
   * wait() and drain(), until so many batches were handed out, or until the producers have ended
   * and one of them died.
   */
  *waitAndDrain(count) {
    const { core, memory, run } = this
    const producers = run.threads.filter(({ name }) => name.startsWith('producer'))
    while (this.handed.length < count) {
      const isThere =
        (yield* core.findBatch(memory)) || (yield* core.sleepForBatch(memory, SLEEP_MS))
      say(isThere)
      if (isThere) {
        yield* this.drain()
      } else if (
        producers.every(({ state }) => state >= ENDED) &&
        producers.some(({ state }) => state === DEAD)
      ) {
        return
      }
    }
  }

  /** Drain whenever something is there, until the producers have ended. */
  *drainToTheEnd() {
    const drain = this.drain.bind(this)
    const { run } = this
    yield* until(
      function* () {
        yield* drain()
        return run.threads.every(
          ({ name, state }) => !name.startsWith('producer') || state >= ENDED,
        )
      },
      { event: true },
    )
  }

  *tries(part) {
    const [unharmed, value] = yield* attempt(part)
    say(unharmed)
    return unharmed ? value : undefined
  }

  // ---------------------------------------------------------------------------------------- checks

  finish() {
    const { core, memory, words, filled, handed } = this
    drive(this.drain())
    if (JSON.stringify(handed) !== JSON.stringify(filled))
      throw new Failure(
        'invariant',
        `filled were ${JSON.stringify(filled)}, handed out were ${JSON.stringify(handed)}`,
      )
    const all = new Set(handed.flat())
    for (const key of this.pushed)
      if (!all.has(key)) throw new Failure('invariant', `${key} was pushed, and is lost`)
    const dead = this.run.threads.filter(({ state }) => state === DEAD).length
    let owned = 0
    for (let writer = 0; writer < memory.layout.maxWriters; writer++) {
      if ((words[core.laneAt(memory.layout, writer) + core.LANE_OWNER] & core.THREAD_MASK) !== 0)
        owned++
    }
    if (owned > dead + (this.scenario.stayOpen ?? 0))
      throw new Failure('invariant', `${owned} lanes are never free again`)
  }

  endState() {
    const dead = this.run.threads.filter(({ state }) => state === DEAD).map(({ name }) => name)
    return `${JSON.stringify(this.filled)} | ${JSON.stringify(this.results)} | ${dead.join(' ')}`
  }
}

/** @type {import('./types.js').Scenario<World>[]} */
export const scenarios = [
  {
    name: 'BatchRing: two producers, a consumer, two slots',
    start: { position: 2 ** 30 - 1, laneEnd: -1 },
    quick: { preemptions: 1, deaths: 1, together: 1 },
    threads: {
      *producerA(w) {
        const lane = yield* w.open()
        yield* w.push(lane, [1, 2])
        yield* w.pushWaiting(lane, [3])
        yield* w.close(lane)
      },
      *producerB(w) {
        const lane = yield* w.open()
        yield* w.push(lane, [11])
        yield* w.close(lane)
      },
      *consumer(w) {
        yield* w.drainToTheEnd()
      },
    },
  },
  {
    name: 'BatchRing: a lane and its next owner',
    memory: { maxWriters: 1 },
    kills: false, // the id of a producer that died is not used again
    start: { generation: 2 ** 13 - 1 },
    quick: { preemptions: 2, deaths: 0 },
    threads: {
      *producerA(w) {
        const lane = yield* w.open()
        yield* w.push(lane, [1])
        yield* w.close(lane)
      },
      *producerB(w) {
        const lane = yield* w.open()
        yield* w.pushWaiting(lane, [11, 12])
        yield* w.close(lane)
      },
      *consumer(w) {
        yield* w.drainToTheEnd()
      },
    },
  },
  {
    name: 'BatchRing: a consumer that sleeps, two producers',
    quick: { preemptions: 1, deaths: 0 },
    threads: {
      *producerA(w) {
        const lane = yield* w.open()
        yield* w.pushWaiting(lane, [1])
        yield* w.close(lane)
      },
      *producerB(w) {
        const lane = yield* w.open()
        yield* w.pushWaiting(lane, [11, 12])
        yield* w.close(lane)
      },
      *consumer(w) {
        yield* w.waitAndDrain(2)
      },
    },
  },
  {
    name: 'BatchRing: a consumer that sleeps, and one batch',
    memory: { capacity: 2, maxWriters: 1 },
    quick: { preemptions: 3 },
    threads: {
      *producerA(w) {
        const lane = yield* w.open()
        yield* w.push(lane, [1])
        yield* w.close(lane)
      },
      *consumer(w) {
        yield* w.waitAndDrain(1)
      },
    },
  },
].map((scenario) => ({ ...scenario, model: { setUp, racyWords, unimportantWords, namer, World } }))
