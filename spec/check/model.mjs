/**
 * What a scenario's threads stand in: a small memory, the ledger of what was marked, an oracle that
 * says what each epoch has to hold, the aggregator's thread, and the tracker's. A scenario is a
 * record:
 *
 *   { name, memory: {…settings}, start: {…}, threads: { writerA: function* (w) {…}, tracker: function* (w) {…} } }
 *
 * A thread whose name begins with "writer" can be killed; its exit is then the tracker's to see.
 * The aggregator is there by itself.
 */
import { Consumers } from './consumers.mjs'
import { filterIn, HASH, keyName, noClock, pairOf, textName, textOf, textsIn } from './memory.mjs'
import { attempt, currentThread, drive, forget, say, until } from './parts.mjs'
import { DEAD, Failure, learnOfMessage, mix, Planted, posted, watchDirect } from './runtime.mjs'
import { Tracker } from './tracker.mjs'

export { BENIGN, namer, racyWords, setUp, unimportantWords } from './memory.mjs'

/** What an epoch has to hold: the keys that it lists, and those that only its filter has. */
function newEpoch(id) {
  return {
    id,
    keys: [],
    has: new Set(),
    beyond: new Set(),
    isSuperset: false,
    flags: 0,
    /** Those that have changed as a whole. */
    namespaces: new Set(),
  }
}

/** So many namespaces that have changed as a whole an epoch keeps apart, in the checker. */
const NAMESPACES_MAX = 2

export class World {
  /**
   * @param {import('./types.js').Core} core
   * @param {import('./types.js').Scenario} scenario
   * @param {ReturnType<typeof import('./memory.mjs').setUp>} made
   * @param {import('./runtime.mjs').Run} run
   */
  constructor(core, scenario, { memory, settings, seeded }, run) {
    this.core = core
    this.scenario = scenario
    this.memory = memory
    this.settings = settings
    this.run = run
    this.words = memory.words
    this.layout = memory.layout
    this.seeded = seeded.map((key) => keyName(key | 0, Math.floor(key / 2 ** 32)))
    /**
     * Marks in the order they were made: { key, writer, sure, group }. `sure` is what the call
     * returned; undefined if it has not returned.
     */
    this.marks = []
    this.groups = 0
    /** By lane and end: the text that is, or is about to be, staged there. */
    this.textsAt = new Map()
    this.textEnds = new Map()
    /** Batches, and of each lane the one at hand. */
    this.batches = []
    this.batchOf = new Map()
    /** Calls of markEverything(). */
    this.everythings = []
    /** What the scenario's threads tell each other. @type {Record<string, any>} */
    this.results = {}
    /** What one thread has posted to another. @type {{ message: any, clock: Int32Array }[]} */
    this.messages = []
    this.exits = []
    this.aggregators = 0
    this.tracker = new Tracker(this)
    this.consumers = new Consumers(this)
    this.aggregator = undefined
    this.opened = new Map()
    this.#startOracle()
  }

  // --------------------------------------------------------------------------------------- threads

  start() {
    const { run, scenario } = this
    run.watch = (thread, i, old, now) => this.#onSwap(thread, i, old, now)
    run.onDeath = (thread) => this.#onDeath(thread)
    if (scenario.aggregator !== false) this.#spawnAggregator(undefined)
    for (const [name, body] of Object.entries(scenario.threads)) {
      const killable = name.startsWith('writer') && scenario.killWriters !== false
      const thread = run.spawn(name, (self) => this.#live(self, body), { killable, daemon: false })
      // Unless a scenario is about it, lanes are claimed, and the aggregator's role is taken,
      // before the threads start: fewer steps to go through.
      if (scenario.cold !== true && name.startsWith('writer')) {
        const lane = drive(this.#open(thread))
        if (typeof lane !== 'string') this.opened.set(thread, lane)
      }
    }
  }

  *#live(thread, body) {
    yield* body(this)
    // A thread that has come to its end has ended, like one that was killed; what is left in its
    // lane is reaped for, where a scenario is about that.
    if (this.scenario.exits === true && thread.name.startsWith('writer')) this.exits.push(thread)
  }

  #spawnAggregator(dead) {
    const name = `aggregator${this.aggregators === 0 ? '' : this.aggregators + 1}`
    this.aggregators++
    const options = {
      killable: this.scenario.killAggregator !== false,
      daemon: true,
      user: 30,
      after: dead === undefined ? [] : [dead],
    }
    const make = (thread) => {
      let warm
      if (dead === undefined && this.scenario.cold !== true) {
        warm = drive(this.core.takeRole(this.memory, this.threadIdOf(thread)))
        drive(this.core.recover(warm))
      }
      return this.#aggregate(thread, dead, warm)
    }
    this.aggregator = this.run.spawn(name, make, options)
  }

  /** What runAggregator() and its supervisor do, without the clock. */
  *#aggregate(thread, dead, warm) {
    const { core, memory } = this
    if (dead !== undefined) {
      // The tracker's thread does this, which does not die, before it starts the next one.
      thread.killable = false
      yield* core.releaseRole(this.words, this.threadIdOf(dead))
      thread.killable = this.scenario.killAggregator !== false
    }
    let recovered = warm !== undefined
    const a = warm ?? (yield* core.takeRole(memory, this.threadIdOf(thread)))
    const round = function* () {
      if (!recovered) yield* core.recover(a)
      recovered = true
      const result = yield* core.step(a)
      if (result === core.IDLE) yield* core.doChores(a)
      return result
    }
    for (;;) {
      forget(a, a.target, { recovered })
      const [unharmed, result] = yield* attempt(round())
      if (!unharmed) {
        recovered = false
        continue
      }
      if (result === core.LOST_ROLE)
        throw new Failure('invariant', `${thread.name} has met another aggregator`)
      if (result === core.FINISHED_ALL) {
        yield* core.leaveRole(a)
        return
      }
      if (result === core.IDLE) yield* core.park(a, 10)
    }
  }

  threadIdOf(thread) {
    return thread.id + 10
  }

  #onDeath(thread) {
    for (const batch of this.batches) if (batch.thread === thread) this.#batchIsOver(batch)
    if (thread === this.aggregator) this.#spawnAggregator(thread)
    else this.exits.push(thread)
  }

  // ------------------------------------------------------------------------------- a writer's side

  /** A lane for the calling thread; 'none-free' or 'stopped' otherwise. */
  *open() {
    const opened = this.opened.get(currentThread())
    this.opened.delete(currentThread())
    const lane = opened ?? (yield* this.#open(currentThread()))
    say(typeof lane === 'string' ? lane.length : 0)
    forget(lane)
    return lane
  }

  *#open(thread) {
    return yield* this.core.openLane(
      this.memory,
      this.threadIdOf(thread),
      this.settings.batchSize,
      noClock,
    )
  }

  /** Wait until a lane is free, and open it. */
  *openWhenFree() {
    let lane
    const open = this.open.bind(this)
    yield* until(function* () {
      lane = yield* open()
      return lane !== 'none-free'
    })
    return lane
  }

  /** Stage one key; true if it is stored. */
  *mark(lane, key) {
    const entry = this.#note(lane, key)
    entry.sure = yield* this.core.stage(lane, key | 0, Math.floor(key / 2 ** 32) | 0)
    this.#checkPublished(lane)
    say(entry.sure)
    forget(lane)
    return entry.sure
  }

  /** Stage one text. */
  *markText(lane, name) {
    const { source, head } = textOf(name)
    const entry = this.#note(lane, name)
    this.#noteText(lane, 0, head)
    entry.sure = yield* this.core.stageText(lane, ...HASH, source, head)
    this.#checkPublished(lane)
    say(entry.sure)
    forget(lane)
    return entry.sure
  }

  *markTextWaiting(lane, name) {
    while (!(yield* this.markText(lane, name))) {
      const needed = this.core.textNeeded(lane, textOf(name).head)
      if (!(yield* this.#makeRoom(lane, 1, needed))) return false
    }
    return true
  }

  /** Stage keys that go together, numbers or names of texts; all or none. */
  *markMany(lane, keys) {
    this.groups++
    const entries = keys.map((key, i) => this.#note(lane, key, this.groups, i))
    const lanes = keys.flatMap((key) =>
      typeof key === 'string' ? HASH : [key | 0, Math.floor(key / 2 ** 32) | 0],
    )
    const texts = this.#listOf(lane, keys)
    const stored = yield* this.core.stageMany(lane, lanes, keys.length, texts)
    for (const entry of entries) entry.sure = stored
    this.#checkPublished(lane)
    say(stored)
    forget(lane)
    return stored
  }

  /**
   * Stage one key, sleeping for room as long as it takes, as a writer with onFull: 'wait' does.
   * False once the tracker has stopped.
   */
  *markWaiting(lane, key) {
    while (!(yield* this.mark(lane, key))) if (!(yield* this.#makeRoom(lane, 1))) return false
    return true
  }

  *markManyWaiting(lane, keys) {
    while (!(yield* this.markMany(lane, keys))) {
      const needed = this.#listOf(lane, keys)?.needed ?? 0
      if (!(yield* this.#makeRoom(lane, keys.length, needed))) return false
    }
    return true
  }

  /** The texts of a list, as stageMany() takes them. */
  #listOf(lane, keys) {
    const words = []
    let largest = 0
    for (const [i, key] of keys.entries()) {
      if (typeof key !== 'string') continue
      const { source, head } = textOf(key)
      words.push(i, head, ...source)
      largest = Math.max(largest, 2 + source.length)
    }
    if (words.length === 0) return undefined
    return {
      words: Int32Array.from(words),
      size: words.length,
      needed: words.length + largest + 1,
    }
  }

  /**
   * batch(): the marks that `body` makes go together, and are published when it ends or throws.
   * What was written in it becomes visible when it ends, at the latest when its thread dies: its
   * keys have to be in an epoch that is cut after that.
   */
  *batch(lane, body) {
    const { core } = this
    const isOutermost = core.beginBatch(lane)
    if (!isOutermost) {
      yield* body()
      return
    }
    const batch = { entries: [], thread: currentThread() }
    this.batches.push(batch)
    this.batchOf.set(lane, batch)
    try {
      yield* body()
    } catch (error) {
      if (!(error instanceof Planted)) throw error
    }
    this.#batchIsOver(batch)
    this.batchOf.delete(lane)
    yield* core.endBatch(lane)
    this.#checkPublished(lane)
    say(lane.published === lane.end)
    forget(lane)
  }

  /** flush() inside batch(): publishes what was staged before the batch. */
  *flushInBatch(lane) {
    yield* this.core.publish(lane)
    this.#checkPublished(lane)
    forget(lane)
  }

  /** Its writes are visible from here on. */
  #batchIsOver(batch) {
    if (batch.over === true) return
    batch.over = true
    for (const entry of batch.entries) entry.since = this.open_.id
  }

  /** markEverything(). */
  *everything(lane, namespace = undefined) {
    const entry = { since: this.open_.id, sure: undefined, namespace }
    this.everythings.push(entry)
    const batch = this.batchOf.get(lane)
    if (batch !== undefined) batch.entries.push(entry)
    const what = namespace === undefined ? this.core.ALL : namespace + 2
    entry.sure = yield* this.core.markEverything(lane, what)
    say(entry.sure)
    forget(lane)
    return entry.sure
  }

  /** Publish what is staged; false when the ring is full. */
  *flush(lane) {
    const before = this.#look()
    const published = yield* this.core.publish(lane)
    if (published && lane.everything)
      throw new Failure('invariant', 'flush() is true, and markEverything() is not in the ring')
    if (published) this.#checkPublished(lane)
    else this.#checkWasFull(before)
    say(published)
    forget(lane)
    return published
  }

  /**
   * Publish what is staged, sleeping for a slot as long as it takes. False once the tracker has
   * stopped.
   */
  *flushWaiting(lane) {
    if (yield* this.flush(lane)) return true
    return yield* this.#makeRoom(lane, 0)
  }

  *#makeRoom(lane, count, text = 0) {
    for (;;) {
      forget(lane, [count, text])
      if (yield* this.core.isStopped(lane)) return false
      if (yield* this.core.sleepForRoom(lane, count, text, 10)) {
        if (count === 0) this.#checkPublished(lane)
        say(count + 2)
        forget(lane)
        return true
      }
    }
  }

  /**
   * Give the lane back; while the ring is full the thread tries again when something there has
   * changed.
   */
  *close(lane) {
    const { core } = this
    yield* until(function* () {
      return (yield* core.closeLane(lane)) || (yield* core.isStopped(lane))
    })
    say(1)
    forget(lane)
  }

  /** Wait until something outside of shared memory is so; who makes it so calls run.event(). */
  *untilSo(isSo) {
    yield* until(
      // eslint-disable-next-line require-yield
      function* () {
        return isSo()
      },
      { event: true },
    )
    say(1)
  }

  /** postMessage(): from a thread to the reader. */
  post(message) {
    this.messages.push({ message, clock: posted(currentThread()) })
    for (const char of JSON.stringify(message)) say(char.charCodeAt(0))
    this.run.event()
  }

  /** Wait for the next message. */
  *received() {
    yield* this.untilSo(() => this.messages.length > 0)
    const { message, clock } = this.messages.shift()
    learnOfMessage(currentThread(), clock)
    for (const char of JSON.stringify(message)) say(char.charCodeAt(0))
    return message
  }

  /** Do it with exceptions planted in it; after one, what it was about to tell is not known. */
  *tries(part) {
    const [unharmed, value] = yield* attempt(part)
    say(unharmed)
    return unharmed ? value : undefined
  }

  #note(lane, key, group, index = 0) {
    const isText = typeof key === 'string'
    const name = isText ? textName(key) : keyName(key | 0, Math.floor(key / 2 ** 32) | 0)
    const place = `${lane.id}:${(lane.end + index) | 0}`
    if (isText) this.textsAt.set(place, name)
    else this.textsAt.delete(place)
    const entry = {
      key: name,
      writer: lane,
      sure: undefined,
      group,
      since: this.open_.id,
    }
    this.marks.push(entry)
    const batch = this.batchOf.get(lane)
    if (batch !== undefined) batch.entries.push(entry)
    say(1)
    return entry
  }

  /** Where the lane's texts end if the key that is about to be staged at its end has this one. */
  #noteText(lane, _index, head) {
    const { core, layout, words } = this
    const at = core.laneAt(layout, lane.id) + core.LANE_TEXT_READ
    const place = lane.hasText ? lane.textEnd : words[at]
    const needed = core.textNeeded({ ...lane, textEnd: place }, head)
    this.textEnds.set(`${lane.id}:${lane.end}`, (place + needed - 1) | 0)
  }

  // ---------------------------------------------------------------------------------------- oracle
  // Each token's place is where its slot was filled. What every epoch holds follows from that order
  // alone.

  #startOracle() {
    const { layout, scenario, words, core } = this
    this.fills = []
    this.open_ = newEpoch(scenario.start?.epoch ?? 0)
    this.closed = []
    this.bySlot = new Map()
    this.openSlot = 0
    this.taken = 0
    this.everFull = 0
    this.everEmpty = 0
    this.ends = []
    this.generations = []
    for (let writer = 0; writer < layout.maxWriters; writer++) {
      const lane = core.laneAt(layout, writer)
      this.ends.push(words[lane + core.LANE_STAGED_END])
      this.generations.push(words[lane + core.LANE_OWNER] >>> core.THREAD_BITS)
    }
    this.startEnds = this.ends.slice()
    this.counts = { events: 0, batches: 0, keys: 0, harvested: 0 }
    this.stopped = false
    this.#insert(this.seeded)
    for (const key of this.seeded)
      this.marks.push({ key, writer: this, sure: true, since: this.open_.id })
    for (const key of scenario.came ?? []) {
      this.open_.isSuperset = true
      this.open_.flags |= core.FLAG_OVERFLOW
      this.open_.beyond.add(key)
      this.marks.push({ key, writer: this, sure: true, since: this.open_.id })
    }
    this.before = {}
    for (const [name, at] of this.#totals()) this.before[name] = drive(core.readTotal(words, at))
  }

  #totals() {
    const { core, layout } = this
    const totals = [core.EVENTS, core.BATCHES, core.KEYS, core.HARVESTED].map((at, k) => [
      ['events', 'batches', 'keys', 'harvested'][k],
      at,
    ])
    for (let writer = 0; writer < layout.maxWriters; writer++)
      totals.push([`delivered${writer}`, core.laneAt(layout, writer) + core.LANE_DELIVERED])
    return totals
  }

  #onSwap(thread, i, old, now) {
    const { layout, core } = this
    if (i < layout.ring || i >= layout.ring + layout.capacity) return
    if ((old & 1) === 0 && (now & 1) === 1) {
      this.taken++
      if (this.taken === layout.capacity) this.everFull++
      const token = core.tokenOf(now)
      if (token !== core.controlToken(core.POISON, 0)) this.#fill(thread, token)
    } else if ((old & 1) === 1 && (now & 1) === 0) {
      this.taken--
      if (this.taken === 0) this.everEmpty++
    }
  }

  #fill(thread, token) {
    const { core, layout, counts } = this
    counts.events++
    const payload = token & core.PAYLOAD_MASK
    /** @type {{ by: string, kind: number | string, keys: string[], epoch?: number }} */
    const fill = { by: thread?.name ?? 'finish', kind: token >>> core.KIND_SHIFT, keys: [] }
    this.fills.push(fill)
    this.run.known = mix(this.run.known, mix(token, thread?.id ?? -1))
    if ((token & core.BATCH) !== 0) {
      fill.kind = 'BATCH'
      const writer = (token & (core.BATCH - 1)) >>> layout.laneBits
      const n = (token & (layout.laneCapacity - 1)) + 1
      fill.keys = this.#take(writer, n)
      counts.batches++
      counts.keys += n
      this.#insert(fill.keys)
      fill.epoch = this.open_.id
      return
    }
    switch (fill.kind) {
      case core.SEAL: {
        const slot = payload >>> core.EPOCH_BITS
        this.open_.slot = this.openSlot
        this.closed.push(this.open_)
        this.run.known = mix(this.run.known, this.consumers.onSeal(this.open_))
        this.bySlot.set(this.openSlot, this.open_)
        this.open_ = newEpoch(this.open_.id + 1)
        this.openSlot = slot
        break
      }
      case core.RESTORE: {
        const source = this.bySlot.get(payload >>> core.EPOCH_BITS)
        this.#insert(source.keys)
        this.open_.flags |= source.flags
        for (const namespace of source.namespaces) this.#raise(namespace + 2)
        this.open_.isSuperset ||= source.isSuperset
        for (const key of source.beyond) this.open_.beyond.add(key)
        break
      }
      case core.EVERYTHING:
        this.#raise(payload + 1)
        break
      case core.CLOSE:
      case core.REAP: {
        const writer = payload >>> core.GENERATION_BITS
        if ((payload & core.GENERATION_MASK) !== this.generations[writer]) break
        this.generations[writer] = (this.generations[writer] + 1) & core.GENERATION_MASK
        const staged = this.words[core.laneAt(layout, writer) + core.LANE_STAGED_END]
        const everything = this.words[core.laneAt(layout, writer) + core.LANE_EVERYTHING]
        if (everything !== 0) this.#raise(everything)
        fill.keys = this.#take(writer, (staged - this.ends[writer]) | 0)
        counts.harvested += fill.keys.length
        this.#insert(fill.keys)
        fill.epoch = this.open_.id
        break
      }
      case core.STOP:
        this.stopped = true
        break
      default:
    }
  }

  /** What EVERYTHING tokens and lanes say: 1 is everything, n + 2 is namespace n. */
  #raise(what) {
    const { core, open_ } = this
    if (what === core.ALL) open_.flags |= core.FLAG_EVERYTHING
    else this.addNamespace(open_, what - 2)
  }

  /** One more than an epoch has room for makes it everything. */
  addNamespace(content, namespace) {
    const { core } = this
    content.namespaces.add(namespace)
    content.flags |= core.FLAG_NAMESPACES
    if (content.namespaces.size > NAMESPACES_MAX) content.flags |= core.FLAG_EVERYTHING
  }

  #take(writer, n) {
    const { core, layout, words } = this
    const keys = []
    const at = core.laneAt(layout, writer) + core.LANE_KEYS
    for (let k = 0; k < n; k++) {
      const end = (this.ends[writer] + k) | 0
      const slot = at + ((end & (layout.laneCapacity - 1)) << 1)
      keys.push(this.textsAt.get(`${writer}:${end}`) ?? keyName(words[slot], words[slot + 1]))
    }
    this.ends[writer] = (this.ends[writer] + n) | 0
    return keys
  }

  #insert(keys) {
    const { open_, layout, core } = this
    const isText = (key) => key.startsWith("'")
    const held = (texts) => open_.keys.filter((key) => isText(key) === texts)
    const fits = (key) => {
      if (!isText(key)) return held(false).length < layout.maxKeysPerEpoch
      const bytes = [...held(true), key].reduce((sum, each) => sum + each.length - 2, 0)
      return held(true).length < layout.maxStringsPerEpoch && bytes <= layout.maxStringBytesPerEpoch
    }
    for (const key of [...keys.filter((each) => !isText(each)), ...keys.filter(isText)]) {
      if (open_.has.has(key)) continue
      if (!open_.isSuperset && !fits(key)) {
        open_.isSuperset = true
        open_.flags |= core.FLAG_OVERFLOW
      }
      if (open_.isSuperset) {
        open_.beyond.add(key)
      } else {
        open_.has.add(key)
        open_.keys.push(key)
      }
    }
  }

  // ---------------------------------------------------------------------------------------- checks

  #look() {
    return this.taken === this.layout.capacity ? -1 : this.everFull
  }

  /** publish() may say "full" only if the ring was full at some moment of the call. */
  #checkWasFull(before) {
    if (this.scenario.healing === true || this.stopped) return
    if (before !== -1 && before === this.everFull && this.taken !== this.layout.capacity) {
      throw new Failure(
        'invariant',
        'publish() said that the ring is full, and it never was during the call',
      )
    }
  }

  /** What a writer takes for published is in the ring, and nothing else is. */
  #checkPublished(lane) {
    const end = this.generations[lane.id] === lane.generation ? this.ends[lane.id] : lane.published
    if (end !== lane.published)
      throw new Failure(
        'invariant',
        `writer ${lane.id} takes ${lane.published} for published, the ring has ${end}`,
      )
  }

  /** A sealed epoch that the tracker has just been told of, against what it has to hold. */
  checkEpoch(expected, keys, flags, namespaces) {
    const has = new Set(keys)
    if (has.size !== keys.length)
      throw new Failure('invariant', `epoch ${expected.id} has a key twice: ${keys.join(' ')}`)
    const missing = expected.keys.filter((key) => !has.has(key))
    const invented = keys.filter((key) => !expected.has.has(key))
    if (missing.length + invented.length > 0) {
      const what = `epoch ${expected.id} should hold {${expected.keys.join(' ')}}, and holds {${keys.join(' ')}}`
      throw new Failure(
        'invariant',
        `${what}: ${missing.length > 0 ? `lost ${missing.join(' ')}` : `invented ${invented.join(' ')}`}`,
      )
    }
    if (flags !== expected.flags)
      throw new Failure(
        'invariant',
        `epoch ${expected.id} should have flags ${expected.flags}, and has ${flags}`,
      )
    this.checkNamespaces(expected, namespaces)
  }

  /** Where everything has changed, those for which there was no room are not listed. */
  checkNamespaces({ id, flags, namespaces: expected }, namespaces) {
    const isWhole = (flags & this.core.FLAG_EVERYTHING) !== 0
    const isRight =
      namespaces.every((each) => expected.has(each)) &&
      new Set(namespaces).size === namespaces.length &&
      (isWhole || namespaces.length === expected.size)
    if (!isRight)
      throw new Failure(
        'invariant',
        `epoch ${id} should have namespaces ${[...expected].join(' ')}, and has ${namespaces.join(' ')}`,
      )
  }

  /** The form of an epoch; has() of a superset is true for each key that it has to hold. */
  *checkFilter(expected, slot, form) {
    const { core } = this
    const wanted = expected.isSuperset ? core.FORM_FILTER : core.FORM_EXACT
    if (form !== wanted)
      throw new Failure('invariant', `epoch ${expected.id} has form ${form}, not ${wanted}`)
    if (!expected.isSuperset) return
    const filter = filterIn(core, this, slot)
    for (const key of [...expected.keys, ...expected.beyond])
      if (!(yield* core.filterHas(filter, ...pairOf(core, key))))
        throw new Failure('invariant', `epoch ${expected.id} is a superset without ${key}`)
  }

  #namespacesNow(slot) {
    const { core, layout, words } = this
    const at = core.epochAt(layout, slot)
    if ((words[at + core.SLOT_FLAGS] & core.FLAG_NAMESPACES) === 0) return []
    const first = at + core.SLOT_NAMESPACES + 1
    return [...words.subarray(first, first + words[first - 1])]
  }

  logNow(slot) {
    const { core, layout, words } = this
    const at = core.epochAt(layout, slot)
    const keys = []
    for (let k = 0; k < words[at + core.SLOT_COUNT]; k++)
      keys.push(keyName(words[at + layout.log + 2 * k], words[at + layout.log + 2 * k + 1]))
    const arena = at + layout.arena
    // eslint-disable-next-line require-yield
    const get = function* (i) {
      return words[i]
    }
    keys.push(...drive(textsIn(core, get, arena, arena + words[at + core.SLOT_TEXT_END])))
    return keys
  }

  /**
   * After the execution: let what is on its way arrive, one step after the other, then look at
   * everything.
   */
  finish() {
    const { core, memory, words, layout, run } = this
    const quiet = run.deaths + run.throws === 0
    const asleep = this.aggregator !== undefined && this.aggregator.state === 1
    const slotAtHead = words[layout.ring + (words[core.HEAD] & (layout.capacity - 1))]
    if (quiet && asleep && (slotAtHead & 1) === 1)
      throw new Failure('blocked', 'the aggregator sleeps, and there is something in the ring')
    this.scenario.atEnd?.(this)
    watchDirect((i, old, expected, now) => old === expected && this.#onSwap(undefined, i, old, now))
    const finished = words[core.FINISHED] !== 0
    let a
    if (!finished) {
      words[core.OWNER] = 0
      a = drive(core.takeRole(memory, 99))
      drive(core.recover(a))
      this.#settle(a)
      if (!this.stopped) {
        const { outbox } = this.tracker
        for (let tries = 0; outbox.queue.length > 0; tries++) {
          if (tries > 40)
            throw new Failure('blocked', 'the ring stays full, whatever the aggregator does')
          drive(core.sendFirst(outbox))
          this.#settle(a)
        }
        this.#checkReaped()
        for (let writer = 0; writer < layout.maxWriters; writer++) {
          const owner = words[core.laneAt(layout, writer) + core.LANE_OWNER]
          if ((owner & core.THREAD_MASK) === 0) continue
          this.#pushNow(
            a,
            core.controlToken(core.REAP, core.writerPayload(writer, owner >>> core.THREAD_BITS)),
          )
        }
      }
    }
    this.#checkEnd(a)
  }

  /** Whose end the tracker was told of has no lane any more. */
  #checkReaped() {
    const { core, layout, words, tracker } = this
    const ended = this.exits
      .slice(0, tracker.exitsSeen)
      .map((thread) => core.ownerBits(this.threadIdOf(thread)))
    for (let writer = 0; writer < layout.maxWriters; writer++) {
      const owner = words[core.laneAt(layout, writer) + core.LANE_OWNER] & core.THREAD_MASK
      if (owner !== 0 && (ended.includes(owner) || owner === core.THREAD_MASK))
        throw new Failure('invariant', `lane ${writer} of a thread that ended is not reaped`)
    }
  }

  #pushNow(a, token) {
    for (let tries = 0; !drive(this.core.push(this.memory, token)); tries++) {
      if (tries > 4)
        throw new Failure('blocked', 'the ring stays full, whatever the aggregator does')
      this.#settle(a)
    }
    this.#settle(a)
  }

  #settle(a) {
    for (let k = 0; k < 500; k++) if (drive(this.core.step(a)) !== this.core.WORKED) return
    throw new Failure('endless', 'the aggregator never comes to the end of the ring')
  }

  #checkEnd(a) {
    const { core, layout, words, counts, stopped } = this
    for (const expected of this.closed) {
      if (
        expected.seen !== true &&
        expected.slot !== undefined &&
        this.bySlot.get(expected.slot) === expected &&
        this.tracker.isHeld(expected.slot)
      ) {
        this.checkEpoch(
          expected,
          this.logNow(expected.slot),
          words[core.epochAt(layout, expected.slot) + core.SLOT_FLAGS],
          this.#namespacesNow(expected.slot),
        )
        const form = words[core.epochAt(layout, expected.slot) + core.SLOT_FORM]
        drive(this.checkFilter(expected, expected.slot, form))
      }
    }
    // Keys that could not be published any more when the tracker stopped stay where they are, and
    // the last epoch says so.
    const left = new Set()
    if (stopped) {
      for (let writer = 0; writer < layout.maxWriters; writer++) {
        const lane = core.laneAt(layout, writer)
        const n = (words[lane + core.LANE_STAGED_END] - this.ends[writer]) | 0
        if (n === 0 || (words[lane + core.LANE_OWNER] & core.THREAD_MASK) === 0) continue
        for (const key of this.#take(writer, n)) left.add(key)
      }
    }
    const openSlot = words[core.CUR] & 15
    if (openSlot !== this.openSlot)
      throw new Failure(
        'invariant',
        `slot ${openSlot} is open, not ${this.openSlot}: a seal was not executed, or twice`,
      )
    const flags = words[core.epochAt(layout, openSlot) + core.SLOT_FLAGS]
    const namespaces = this.#namespacesNow(openSlot)
    if (stopped) {
      this.open_.flags |=
        flags & (core.FLAG_UNPUBLISHED | core.FLAG_EVERYTHING | core.FLAG_NAMESPACES)
      for (const { namespace } of this.everythings)
        if (namespaces.includes(namespace)) this.open_.namespaces.add(namespace)
    }
    this.checkEpoch(this.open_, this.logNow(openSlot), flags, namespaces)
    const form = words[core.epochAt(layout, openSlot) + core.SLOT_FORM]
    drive(this.checkFilter(this.open_, openSlot, form))
    if (this.consumers.all.length > 0) drive(this.consumers.checkEnd(stopped))
    for (const { since, sure, namespace } of this.everythings) {
      const isSaid = [...this.closed, this.open_].some(
        (epoch) =>
          epoch.id >= since &&
          ((epoch.flags & core.FLAG_EVERYTHING) !== 0 || epoch.namespaces.has(namespace)),
      )
      if (sure === true && !isSaid)
        throw new Failure('invariant', `markEverything() in epoch ${since} is in no epoch`)
    }
    if (this.open_.isSuperset) this.#checkFill(openSlot)
    else this.checkTable(openSlot)

    const delivered = new Map()
    for (const epoch of [...this.closed, this.open_])
      for (const key of [...epoch.keys, ...epoch.beyond])
        if (!delivered.has(key)) delivered.set(key, epoch.id)
    const known = new Set(this.marks.map(({ key }) => key))
    for (const key of delivered.keys())
      if (!known.has(key))
        throw new Failure('invariant', `${key} was never marked, and is delivered`)
    const lastOf = new Map()
    for (const epoch of [...this.closed, this.open_])
      for (const key of [...epoch.keys, ...epoch.beyond]) lastOf.set(key, epoch.id)
    const untold = []
    for (const { key, sure, since } of this.marks) {
      if (sure !== true) continue
      if (delivered.has(key)) {
        if (lastOf.get(key) >= since || left.has(key)) continue
        throw new Failure(
          'invariant',
          `${key} was marked in epoch ${since}, and is delivered in ${lastOf.get(key)} at last`,
        )
      }
      if (left.has(key)) untold.push(key)
      else throw new Failure('invariant', `${key} was marked, and is lost`)
    }
    if (untold.length > 0 && (flags & core.FLAG_UNPUBLISHED) === 0) {
      throw new Failure(
        'invariant',
        `${untold.join(' ')} stayed staged, and the last epoch does not say so`,
      )
    }
    for (let group = 1; group <= this.groups; group++) {
      const keys = this.marks.filter((mark) => mark.group === group).map(({ key }) => key)
      const fills = this.fills.filter((fill) => keys.some((key) => fill.keys.includes(key)))
      if (fills.length > 1 && this.scenario.repeats !== true)
        throw new Failure('invariant', `the batch ${keys.join(' ')} was torn`)
      if (fills.length === 1 && !keys.every((key) => fills[0].keys.includes(key)))
        throw new Failure('invariant', `only a part of the batch ${keys.join(' ')}`)
    }
    for (const { entries } of this.batches) {
      const keys = entries
        .filter(({ key, sure }) => key !== undefined && sure === true)
        .map(({ key }) => key)
      const fills = this.fills.filter((fill) => keys.some((key) => fill.keys.includes(key)))
      if (this.scenario.repeats === true) continue
      if (fills.length > 1) throw new Failure('invariant', `the batch ${keys.join(' ')} was torn`)
      if (fills.length === 1 && !keys.every((key) => fills[0].keys.includes(key)))
        throw new Failure('invariant', `only a part of the batch ${keys.join(' ')}`)
    }
    if (this.scenario.repeats !== true) {
      const last = new Map()
      for (const { key, writer } of this.marks) {
        const epoch = delivered.get(key)
        if (epoch === undefined) continue
        if (epoch < (last.get(writer) ?? 0))
          throw new Failure(
            'invariant',
            `writer ${writer.id} went back to epoch ${epoch} with ${key}`,
          )
        last.set(writer, epoch)
      }
    }
    const said = {}
    for (const [name, at] of this.#totals())
      said[name] = drive(core.readTotal(words, at)) - this.before[name]
    for (const [name, value] of Object.entries(said)) {
      if (counts[name] !== undefined && value !== counts[name])
        throw new Failure(
          'invariant',
          `the total of ${name} is ${value}, and should be ${counts[name]}`,
        )
    }
    for (let writer = 0; writer < layout.maxWriters; writer++) {
      const lane = core.laneAt(layout, writer)
      const through = (words[lane + core.LANE_READ_END] - this.startEnds[writer]) | 0
      if (said[`delivered${writer}`] !== through)
        throw new Failure(
          'invariant',
          `writer ${writer}: delivered ${said[`delivered${writer}`]} of ${through}`,
        )
      const end = stopped ? words[lane + core.LANE_READ_END] : words[lane + core.LANE_STAGED_END]
      if (words[lane + core.LANE_READ_END] !== end)
        throw new Failure('invariant', `writer ${writer}: keys were left in its lane`)
      if (!stopped && (words[lane + core.LANE_OWNER] & core.THREAD_MASK) !== 0)
        throw new Failure('invariant', `lane ${writer} is never free again`)
    }
    for (const [place, end] of stopped ? [] : this.#lastTexts()) {
      const read = words[core.laneAt(layout, Number(place)) + core.LANE_TEXT_READ]
      if (read !== end)
        throw new Failure('invariant', `lane ${place}: text was read up to ${read}, not to ${end}`)
    }
    if (a !== undefined && !stopped && core.distance(words[core.HEAD], a.head) !== 0)
      throw new Failure('invariant', 'the head is not where the aggregator is')
  }

  /** Of each lane whose last keys had a text: where that ends. */
  #lastTexts() {
    const { core, layout, words, textEnds } = this
    const last = new Map()
    for (const [place, end] of textEnds) {
      const [writer, position] = place.split(':').map(Number)
      const staged = words[core.laneAt(layout, writer) + core.LANE_STAGED_END]
      if (((staged - position) | 0) > 0 && this.textsAt.has(place)) last.set(writer, end)
    }
    return last
  }

  /** The bits of the filter are those of the keys that it has to hold, and no others. */
  #checkFill(slot) {
    const { core, words, layout, open_ } = this
    const at = core.epochAt(layout, slot) + layout.table
    const own = { ...filterIn(core, this, slot), words: new Int32Array(layout.size) }
    for (const key of [...open_.keys, ...open_.beyond])
      drive(core.filterPairs(own, new Int32Array(pairOf(core, key)), 0, 2))
    for (let i = at; i < at + layout.filterCells * 2; i++)
      if (own.words[i] !== words[i])
        throw new Failure('invariant', `a filter has ${words[i]} at ${i}, and not ${own.words[i]}`)
    const filter = filterIn(core, this, slot)
    drive(core.filterCount(filter))
    const fill = words[core.epochAt(layout, slot) + core.SLOT_FILL]
    if (fill !== filter.fill)
      throw new Failure('invariant', `a filter has ${filter.fill} bits, and says ${fill}`)
  }

  checkTable(slot) {
    const { core, layout, words } = this
    const at = core.epochAt(layout, slot)
    const cells = layout.smallestTable * 2 ** words[at + core.SLOT_GROWTH]
    const set = {
      words,
      log: at + layout.log,
      table: at + layout.table,
      shift: core.shiftFor(cells),
      zero: words[at + core.SLOT_ZERO] === 1,
      ...core.secretsAt(words, core.SECRETS),
    }
    let full = set.zero ? 1 : 0
    for (let k = 0; k < cells; k++)
      if ((words[set.table + 2 * k] | words[set.table + 2 * k + 1]) !== 0) full++
    const count = words[at + core.SLOT_COUNT]
    if (full !== count)
      throw new Failure('invariant', `the table has ${full} keys, its log ${count}`)
    for (let k = 0; k < count; k++) {
      if (!drive(core.contains(set, words[set.log + 2 * k], words[set.log + 2 * k + 1])))
        throw new Failure('invariant', 'a key of the log is not in the table')
    }
    const textEnd = words[at + core.SLOT_TEXT_END]
    if (textEnd === 0) return
    const textCells = layout.smallestTextTable * 2 ** words[at + core.SLOT_TEXT_GROWTH]
    const found = new Set()
    for (let k = 0; k < textCells; k++) found.add(words[at + layout.textTable + 2 * k] - 1)
    found.delete(-1)
    for (let place = 0; place < textEnd;) {
      if (!found.delete(place)) throw new Failure('invariant', 'a text is not in the table')
      place += core.recordWords(words[at + layout.arena + place + core.HEAD_AT])
    }
    if (found.size > 0) throw new Failure('invariant', 'the table names a text that is not there')
  }

  /** What an execution came to, for counting distinct ones. */
  endState() {
    const fills = this.fills
      .map(
        ({ kind, by, keys }) =>
          `${by.startsWith('aggregator') ? 'aggregator' : by}:${kind}[${keys.join(' ')}]`,
      )
      .join(' ')
    const epochs = [...this.closed, this.open_]
      .map(
        ({ id, keys, beyond, flags, namespaces }) =>
          `${id}{${keys.join(' ')}}${beyond.size > 0 ? `+{${[...beyond].join(' ')}}` : ''}${flags}${[...namespaces].join(' ')}`,
      )
      .join(' ')
    const dead = this.run.threads
      .filter(({ state }) => state === DEAD)
      .map(({ name }) => name)
      .join(' ')
    return `${fills} | ${epochs} | ${JSON.stringify(this.results)} | ${dead}`
  }
}
