/**
 * What a dictionary's scenarios stand in: a small memory, threads that add, find and read keys,
 * each with what it has taken, and an oracle. It goes by the table: a key has its number as soon as
 * a cell leads to it. Of each call it requires what follows from that.
 *
 *   { name, model: dictionary, memory: { maxKeys, spaceWords }, keys: { a: { home, … } }, before: ['a'], threads: { adderA: function* (w) { yield* w.add('a') } } }
 *
 * Keys have names; each is searched for, so that it has the home cell, the low bits of the hash,
 * and the length in words that its scenario wants. Every thread can die.
 */
import { attempt, currentThread, drive, say, until } from './parts.mjs'
import { DEAD, Failure, mix } from './runtime.mjs'

/**
 * As in the largest space, two bits of the hash are left in a cell: keys that agree in them are
 * told apart by their bytes alone.
 */
const PLACE_BITS = 30
const SMALL = { maxKeys: 2, spaceWords: 32 }

export function setUp(core, scenario) {
  const { maxKeys, spaceWords } = { ...SMALL, ...scenario.memory }
  const words = new Int32Array(new SharedArrayBuffer(core.dictionarySize(maxKeys, spaceWords) * 4))
  const [seed, mulA, , mulB] = core.secretsOf(7)
  words[core.D_MAX_KEYS] = maxKeys
  words[core.D_SPACE] = spaceWords
  words.set([seed, mulA, mulB], core.D_SECRETS)
  const memory = { words }
  const d = open(core, memory)
  const keys = new Map()
  for (const [name, wanted] of Object.entries(scenario.keys))
    keys.set(name, searchKey(core, d, wanted, keys))
  for (const name of scenario.before ?? [])
    drive(core.addKey(d, keys.get(name).key, keys.get(name).length))
  return { memory, keys }
}

/** A thread's way in. */
function open(core, { words }) {
  return { ...drive(core.openDictionary(words)), placeBits: PLACE_BITS }
}

/** A key of its own with that home cell; `tag`: the low bits of the hash. */
function searchKey(core, d, { home, tag = 0, length = 4 }, taken) {
  const key = new Int32Array(Math.ceil(length / 4)).fill(1)
  for (;;) {
    if (key[0] === 0) throw new Error('no such key')
    const hash = core.hashOf(d, key, length)
    const isTaken = [...taken.values()].some(
      (other) => other.length === length && other.key.join() === key.join(),
    )
    if (hash >>> d.shift === home && (hash & 3) === tag && !isTaken) return { key, length }
    key[0]++
  }
}

/** There are no races. */
export const racyWords = () => () => false
export const unimportantWords = () => () => false

export function namer(core, { words }) {
  const { table, space, maxKeys } = open(core, { words })
  return (i) => {
    if (i >= space) return `space[${i - space}]`
    if (i >= table) return `cell[${i - table}]`
    if (i >= table - maxKeys) return `entry[${i - (table - maxKeys)}]`
    return i === core.D_IDS ? 'IDS' : i === core.D_USED ? 'USED' : `word ${i}`
  }
}

export class World {
  constructor(core, scenario, { memory, keys }, run) {
    this.core = core
    this.scenario = scenario
    this.memory = memory
    this.words = memory.words
    this.keys = keys
    this.run = run
    this.shape = open(core, memory)
    /**
     * Keys that have a number, by name, the numbers that have a key, and the cells that were seen
     * to lead to them.
     */
    this.given = new Map()
    this.keyOf = new Map()
    this.cells = new Map()
    /** What each thread knows and has taken. */
    this.taken = new Map()
    this.#look()
    this.results = {}
    this.news = new Map()
  }

  start() {
    for (const [name, body] of Object.entries(this.scenario.threads)) {
      const thread = this.run.spawn(name, () => body(this), {
        killable: this.scenario.kills !== false,
      })
      this.taken.set(thread, open(this.core, this.memory))
    }
  }

  // ----------------------------------------------------------------------------------------- calls

  /** id(): the key's number, or -1. */
  *add(name) {
    const { key, length } = this.keys.get(name)
    const d = this.taken.get(currentThread())
    const id = yield* this.core.addKey(d, key, length)
    // Its last step was an access, and no other thread has run since.
    this.#look()
    if (id >= 0) this.#check(name, id, 'add')
    else {
      if (this.given.has(name))
        throw new Failure(
          'invariant',
          `add() had no number for ${name}, which has ${this.given.get(name)}`,
        )
      const noId = d.id < 0 && this.words[this.core.D_IDS] === d.maxKeys
      const size = 2 + Math.ceil(length / 4)
      const noSpace = d.room < size && this.words[this.core.D_USED] + size > d.end - d.space
      if (!noId && !noSpace)
        throw new Failure(
          'invariant',
          `add() says that the dictionary is full for ${name}, and it is not`,
        )
    }
    return this.#told('add', name, id)
  }

  /** find(): the key's number, or -1. */
  *find(name) {
    const { key, length } = this.keys.get(name)
    const id = yield* this.core.findKey(this.taken.get(currentThread()), key, length)
    this.#look()
    if (id >= 0) this.#check(name, id, 'find')
    else if (this.given.has(name))
      throw new Failure(
        'invariant',
        `find() did not find ${name}, which has ${this.given.get(name)}`,
      )
    return this.#told('find', name, id)
  }

  /** key(): the name of the key that has a number; undefined if none has. */
  *read(id) {
    const { core } = this
    const d = this.taken.get(currentThread())
    this.#look()
    const known = this.keyOf.get(id)
    // What it was when the call began is what the oracle goes by, and no thread was told.
    this.run.known = mix(this.run.known, known === undefined ? id : id + 100)
    const record = yield* core.recordWith(d, id)
    let name
    if (record >= 0) {
      const length = yield* core.lengthOf(d, record)
      const key = new Int32Array(Math.ceil(length / 4))
      yield* core.copyKey(d, record, key)
      name = this.#nameOf(key, length)
    }
    this.#look()
    if (name !== this.keyOf.get(id) && (record >= 0 || known !== undefined)) {
      throw new Failure('invariant', `key(${id}) is ${name}, and should be ${this.keyOf.get(id)}`)
    }
    return this.#told('read', id, name)
  }

  /** Do it with exceptions planted in it; after one, the thread goes on with the same record. */
  *tries(part) {
    const [unharmed, value] = yield* attempt(part)
    say(unharmed)
    return unharmed ? value : undefined
  }

  /** Tell other threads, outside of shared memory. */
  tell(name, value) {
    this.news.set(name, value)
    this.run.event()
  }

  /** Waits for what another thread tells. Undefined when all others have ended without it. */
  *told(name) {
    const { run, news } = this
    const self = currentThread()
    yield* until(
      // eslint-disable-next-line require-yield
      function* () {
        return news.has(name) || run.threads.every((thread) => thread === self || thread.state >= 2)
      },
      { event: true },
    )
    say(news.get(name) ?? -2)
    return news.get(name)
  }

  #told(call, of, result) {
    const { name } = currentThread()
    ;(this.results[name] ??= []).push(`${call}(${of}) ${result}`)
    say(typeof result === 'number' ? result : this.keyOf.size)
    return result
  }

  // ---------------------------------------------------------------------------------------- oracle

  /** What the table has now. */
  #look() {
    const { words, shape, cells, given, keyOf } = this
    for (let i = shape.table; i < shape.space; i++) {
      if (words[i] === (cells.get(i) ?? 0)) continue
      if (cells.has(i))
        throw new Failure(
          'invariant',
          `a cell that led to ${this.#recordIn(cells.get(i)).name} was filled once more`,
        )
      cells.set(i, words[i])
      const { id, name } = this.#recordIn(words[i])
      if (given.has(name))
        throw new Failure(
          'invariant',
          `${name} has the number ${given.get(name)}, and gets ${id} besides`,
        )
      if (keyOf.has(id))
        throw new Failure(
          'invariant',
          `${id} is the number of ${keyOf.get(id)}, and ${name} gets it too`,
        )
      given.set(name, id)
      keyOf.set(id, name)
    }
  }

  #check(name, id, call) {
    if (this.given.get(name) !== id)
      throw new Failure(
        'invariant',
        `${call}(${name}) says ${id}, and its number is ${this.given.get(name)}`,
      )
  }

  /** What a cell leads to, as it is now. */
  #recordIn(cell) {
    const at = this.shape.space + (cell & (2 ** PLACE_BITS - 1)) - 1
    const [id, length] = this.words.subarray(at, at + 2)
    const end = at + 2 + Math.ceil(length / 4)
    return { id, at, end, name: this.#nameOf(this.words.subarray(at + 2, end), length) }
  }

  #nameOf(key, length) {
    for (const [name, each] of this.keys)
      if (each.length === length && each.key.join() === key.join()) return name
    return `bytes of no key, [${key.join(' ')}], ${length}`
  }

  /** Checks that everything told so far still holds, and that a new thread can go on. */
  finish() {
    const { core, words, run, given, keyOf, keys, cells } = this
    this.#look()
    const records = [...cells.values()].map((cell) => this.#recordIn(cell))
    const inTable = records.map(({ id, name }) => `${name} ${id}`).sort()
    const expected = [...given].map((each) => each.join(' ')).sort()
    if (inTable.join() !== expected.join())
      throw new Failure('invariant', `the table leads to {${inTable}}, and did to {${expected}}`)
    records.sort((a, b) => a.at - b.at)
    for (let k = 1; k < records.length; k++)
      if (records[k].at < records[k - 1].end)
        throw new Failure('invariant', `${records[k].name} lies in ${records[k - 1].name}`)
    const alive = [...this.taken].filter(([{ state }]) => state !== DEAD).map(([, d]) => d)
    const held = alive.filter(({ id }) => id >= 0).length
    const lost = words[core.D_IDS] - given.size - held
    if (lost > run.deaths)
      throw new Failure('invariant', `${lost} numbers are lost, and ${run.deaths} threads died`)
    // A thread that comes now.
    const d = open(core, this.memory)
    const isFull = words[core.D_IDS] === d.maxKeys
    for (const [name, { key, length }] of keys) {
      const found = drive(core.findKey(d, key, length))
      if (found !== (given.get(name) ?? -1))
        throw new Failure('invariant', `${name} is found as ${found}`)
      const id = drive(core.addKey(d, key, length))
      if (given.has(name) ? id !== found : id >= 0 && (isFull || keyOf.has(id)))
        throw new Failure('invariant', `${name} gets ${id} in the end`)
      if (id >= 0) {
        given.set(name, id)
        keyOf.set(id, name)
      }
    }
    for (let id = 0; id < d.maxKeys; id++) {
      const record = drive(core.recordWith(d, id))
      const length = record < 0 ? 0 : drive(core.lengthOf(d, record))
      const key = new Int32Array(Math.ceil(length / 4))
      if (record >= 0) drive(core.copyKey(d, record, key))
      const name = record < 0 ? undefined : this.#nameOf(key, length)
      if (name !== keyOf.get(id))
        throw new Failure('invariant', `${id} reads back as ${name}, and is ${keyOf.get(id)}`)
    }
  }

  /** What an execution came to, for counting distinct ones. */
  endState() {
    const dead = this.run.threads.filter(({ state }) => state === DEAD).map(({ name }) => name)
    return JSON.stringify([[...this.given].sort(), Object.entries(this.results).sort(), dead])
  }
}

/** A thread that adds these keys, one after the other. */
const adds = (...names) =>
  function* (w) {
    for (const name of names) yield* w.add(name)
  }

const model = { setUp, racyWords, unimportantWords, namer, World }
/** Keys whose home is one cell, told apart by their bytes alone. */
const ONE_CELL = { a: { home: 1 }, b: { home: 1 }, c: { home: 1 } }

/** @type {import('./types.js').Scenario<World>[]} */
export const scenarios = [
  {
    name: 'dictionary: two threads add one key',
    keys: ONE_CELL,
    quick: { preemptions: 3, deaths: 2 },
    threads: { adderA: adds('a'), adderB: adds('a') },
  },
  {
    name: 'dictionary: two threads add two keys of one cell, the last one of the table',
    keys: { a: { home: 3 }, b: { home: 3 } },
    quick: {},
    threads: { adderA: adds('a', 'b'), adderB: adds('b', 'a') },
  },
  {
    name: 'dictionary: two threads add keys of neighbouring cells',
    memory: { maxKeys: 4 },
    keys: { a: { home: 3 }, b: { home: 4, tag: 1 }, c: { home: 3, tag: 2 } },
    before: ['b'],
    quick: {},
    threads: { adderA: adds('a', 'c'), adderB: adds('c', 'b') },
  },
  {
    name: 'dictionary: three threads, two keys of one cell',
    memory: { maxKeys: 4 },
    keys: ONE_CELL,
    quick: { preemptions: 2, deaths: 0 },
    threads: { adderA: adds('a'), adderB: adds('a', 'b'), adderC: adds('b') },
  },
  {
    name: 'dictionary: the slower thread goes on with what it took, for keys of other lengths',
    memory: { maxKeys: 4 },
    keys: {
      long: { home: 1, length: 8 },
      longer: { home: 1, length: 9 },
      short: { home: 2, length: 3 },
    },
    quick: { preemptions: 2, deaths: 1 },
    threads: { adderA: adds('long', 'longer'), adderB: adds('long', 'short', 'longer') },
  },
  {
    name: 'dictionary: full by numbers',
    memory: { maxKeys: 2 },
    keys: ONE_CELL,
    before: ['c'],
    quick: {},
    threads: { adderA: adds('a', 'b'), adderB: adds('a', 'c') },
  },
  {
    name: 'dictionary: full by space',
    memory: { maxKeys: 4, spaceWords: 8 },
    keys: { a: { home: 1 }, b: { home: 1 }, long: { home: 1, length: 12 } },
    quick: {},
    threads: { adderA: adds('a', 'long'), adderB: adds('long', 'b', 'a') },
  },
  {
    name: 'dictionary: find() races the adding of a key, and of another one of its cell',
    memory: { maxKeys: 4 },
    keys: ONE_CELL,
    quick: {},
    threads: {
      adderA: adds('a', 'b'),
      adderB: adds('b'),
      *finder(w) {
        for (const name of ['b', 'a', 'b', 'c']) yield* w.find(name)
      },
    },
  },
  {
    name: 'dictionary: key() of every number races the adding of keys',
    memory: { maxKeys: 2 },
    keys: { a: { home: 1, length: 8 }, b: { home: 1, length: 5 } },
    quick: {},
    threads: {
      adderA: adds('a', 'b'),
      adderB: adds('a'),
      *reader(w) {
        for (const id of [0, 1, 0, 1]) yield* w.read(id)
      },
    },
  },
  {
    name: 'dictionary: a number is read back in another thread as soon as it is told, after any death',
    memory: { maxKeys: 2 },
    keys: ONE_CELL,
    quick: { preemptions: 2, deaths: 2 },
    threads: {
      *adderA(w) {
        w.tell('a', yield* w.add('a'))
        yield* w.add('b')
      },
      adderB: adds('a', 'b'),
      *reader(w) {
        const id = yield* w.told('a')
        if (id !== undefined) w.tell('read', yield* w.read(id))
      },
    },
  },
  {
    name: 'dictionary: exceptions, and the thread goes on with what it had',
    memory: { maxKeys: 4 },
    keys: { a: { home: 1 }, b: { home: 1, length: 8 }, c: { home: 2 } },
    throws: 2,
    quick: { preemptions: 1, deaths: 1, throws: 1 },
    threads: {
      *adderA(w) {
        yield* w.tries(w.add('a'))
        yield* w.tries(w.add('b'))
        yield* w.add('a')
        yield* w.add('c')
      },
      adderB: adds('a', 'b'),
    },
  },
].map((scenario) => ({ ...scenario, model }))
