import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { FINISHED_ALL, IDLE } from '../../lib/aggregator/step.js'
import { epochAt, FLAG_FAULT, HEAD, JOB, PANICS, SLOT_FLAGS } from '../../lib/memory/map.js'
import { epochOfJob, indexOfJob, isJob, jobWord } from '../../lib/memory/plan.js'
import { commitPlace, requestSeal, takeSealed, type Ticket } from '../../lib/tracker/outbox.js'
import { Consumers, type Ends, type MarkedKey, type Reader } from '../support/consumers.js'
import { logOf, type MemoryOptions, type OnAccess, watchAccesses } from '../support/steps.js'

type Action = (consumers: Consumers) => void
type Act = (consumers: Consumers, reader: Reader) => void

/** So that a failure says what was done. */
const named = (name: string, act: Action): Action =>
  Object.defineProperty(act, fc.toStringMethod, { value: () => name })

const key: fc.Arbitrary<MarkedKey> = fc.oneof(
  { weight: 3, arbitrary: fc.integer({ min: 0, max: 12 }) },
  { weight: 1, arbitrary: fc.constantFrom('', 'a', 'ab', 'seven c', 'eight by') },
)

const marks = fc
  .array(key, { minLength: 1, maxLength: 4 })
  .map((keys) => named(`mark ${keys.join(' ')}`, (consumers) => consumers.mark(keys)))

/** Of stores at which the aggregator is interrupted, the one counted from the other. */
const interruptionsOf = (ends: Ends, largest: number) =>
  fc.array(fc.nat(largest), { maxLength: { never: 0, dies: 2, throws: 1 }[ends] })

const steps = (ends: Ends): fc.Arbitrary<Action> =>
  fc
    .tuple(fc.oneof(fc.nat(6), fc.constant(1000)), interruptionsOf(ends, 40))
    .map(([most, stores]) =>
      named(`${most} steps, interrupted at ${stores.join()}`, (consumers) =>
        consumers.steps(most, stores),
      ),
    )

const opens = fc
  .boolean()
  .map((isFresh) =>
    named(isFresh ? 'open fresh' : 'open', (consumers) => void consumers.open(isFresh)),
  )

const one = (name: string, act: Action): fc.Arbitrary<Action> => fc.constant(named(name, act))

/** An action of one of the consumers that are open. */
const ofOne = (name: string, act: Act): fc.Arbitrary<Action> =>
  fc.nat(6).map((k) =>
    named(`${name} ${k}`, (consumers) => {
      const { readers } = consumers
      if (readers.length > 0) act(consumers, readers[k % readers.length])
    }),
  )

const actions = (ends: Ends): fc.Arbitrary<Action> =>
  fc.oneof(
    { weight: 6, arbitrary: marks },
    { weight: 5, arbitrary: steps(ends) },
    { weight: 2, arbitrary: opens },
    { weight: 4, arbitrary: ofOne('seal', (consumers, reader) => consumers.seal(reader)) },
    { weight: 2, arbitrary: ofOne('try', (consumers, reader) => void consumers.trySeal(reader)) },
    { weight: 3, arbitrary: one('take', (consumers) => consumers.take()) },
    { weight: 3, arbitrary: ofOne('commit', (consumers, reader) => consumers.commit(reader)) },
    { weight: 2, arbitrary: ofOne('restore', (consumers, reader) => consumers.restore(reader)) },
    { weight: 1, arbitrary: ofOne('abandon', (consumers, reader) => consumers.abandon(reader)) },
    { weight: 1, arbitrary: ofOne('close', (consumers, reader) => consumers.close(reader)) },
    { weight: 1, arbitrary: one('everything', (consumers) => consumers.everything()) },
  )

const options: fc.Arbitrary<MemoryOptions> = fc.record({
  capacity: fc.constantFrom(2, 4, 16),
  maxKeysPerEpoch: fc.constantFrom(3, 16),
  maxStringsPerEpoch: fc.constantFrom(2, 8),
  maxStringBytesPerEpoch: fc.constantFrom(10, 64),
  start: fc.constantFrom({}, { epoch: 2 ** 19 - 3, position: 2 ** 30 - 2 }, { epoch: 2 ** 32 - 3 }),
})

/** Histories, each with its end: a stop, or one more epoch for each. */
function histories(ends: Ends, numRuns: number): void {
  const history = fc.tuple(
    fc.integer({ min: 1, max: 7 }),
    options,
    fc.array(fc.boolean(), { maxLength: 4 }),
    fc.array(actions(ends), { minLength: 10, maxLength: 60 }),
    fc.boolean(),
    interruptionsOf(ends, 200),
  )
  const live = fc.property(history, ([size, settings, opened, all, stops, stores]) => {
    const consumers = new Consumers(size, settings, ends)
    for (const isFresh of opened) consumers.open(isFresh)
    for (const act of all) act(consumers)
    if (stops) consumers.stop(stores)
    else consumers.checkAll()
  })
  fc.assert(live, { numRuns })
}

interface Scenario {
  name: string
  options?: MemoryOptions
  /** What the aggregator finds. */
  prepare(consumers: Consumers): void
  stops?: boolean
}

const IDLE_READERS = [false, false, false]

/** Three readers that have nothing yet. */
function openThree(consumers: Consumers): Reader[] {
  const readers = IDLE_READERS.map((isFresh) => consumers.open(isFresh)!)
  consumers.stepsTo(IDLE)
  consumers.take()
  return readers
}

function marked(consumers: Consumers, ...keys: MarkedKey[]): void {
  consumers.mark(keys)
  consumers.stepsTo(IDLE)
}

function taken(consumers: Consumers, reader: Reader): void {
  consumers.seal(reader)
  consumers.stepsTo(IDLE)
  consumers.take()
}

const TEXTS: MemoryOptions = { maxStringsPerEpoch: 4, maxStringBytesPerEpoch: 20 }

const scenarios: Scenario[] = [
  {
    name: 'a cut whose epoch becomes one backlog and is copied into another',
    prepare(consumers) {
      const [one] = openThree(consumers)
      marked(consumers, 1, 0, 2)
      consumers.seal(one)
      consumers.mark([3])
    },
  },
  {
    name: 'a cut that is united with three backlogs, the own one first',
    prepare(consumers) {
      const [one, two] = openThree(consumers)
      marked(consumers, 1, 2)
      taken(consumers, one)
      marked(consumers, 2, 0)
      consumers.seal(two)
      consumers.mark([3])
    },
  },
  {
    name: 'two cuts at once, and batches between them',
    prepare(consumers) {
      const [one, two] = openThree(consumers)
      consumers.mark([1, 0])
      consumers.seal(one)
      consumers.mark([2, 0])
      consumers.seal(two)
      consumers.mark([3])
    },
  },
  {
    name: 'what was given back while there was a backlog, with tables that grow',
    prepare(consumers) {
      const [one, two] = openThree(consumers)
      marked(consumers, 1, 2, 3, 4, 5)
      taken(consumers, one)
      marked(consumers, 6, 7, 8, 9)
      taken(consumers, two)
      consumers.restore(one)
      consumers.mark([0, 1, 10])
      consumers.seal(one)
    },
  },
  {
    name: 'texts, with tables that grow',
    options: TEXTS,
    prepare(consumers) {
      const [one, two] = openThree(consumers)
      marked(consumers, 'a', 'b', 1)
      taken(consumers, one)
      marked(consumers, 'b', 'c')
      consumers.seal(two)
      consumers.mark(['d'])
    },
  },
  {
    name: 'backlogs that become full of numbers',
    options: { maxKeysPerEpoch: 3 },
    prepare(consumers) {
      const [one, two] = openThree(consumers)
      marked(consumers, 1, 2)
      taken(consumers, one)
      marked(consumers, 2, 3, 4)
      consumers.seal(two)
      consumers.mark([5])
    },
  },
  {
    name: 'backlogs that become full of texts, and one that was full already',
    options: { ...TEXTS, maxKeysPerEpoch: 2 },
    prepare(consumers) {
      const [one, two] = openThree(consumers)
      marked(consumers, 'eight by', 1, 'seven c')
      taken(consumers, one)
      marked(consumers, 'ab', 'eight')
      taken(consumers, two)
      marked(consumers, 1, 2, 3)
      consumers.commit(one)
      consumers.seal(one)
    },
  },
  {
    name: 'a full epoch that becomes a backlog, is copied, and comes into exact ones',
    options: { maxKeysPerEpoch: 2 },
    prepare(consumers) {
      const [one, two, three] = openThree(consumers)
      marked(consumers, 1)
      taken(consumers, one)
      consumers.seal(two)
      consumers.mark([2, 3, 4])
      consumers.seal(three)
    },
  },
  {
    name: 'a stop with one last epoch for each',
    stops: true,
    options: { capacity: 4 },
    prepare(consumers) {
      const [one, two] = openThree(consumers)
      marked(consumers, 1, 2)
      taken(consumers, one)
      marked(consumers, 0)
      taken(consumers, two)
      consumers.restore(one)
      consumers.mark([3, 2])
      consumers.beginStop()
    },
  },
  {
    name: 'a stop behind a cut, with a full last epoch, and texts',
    stops: true,
    options: { ...TEXTS, capacity: 4, maxKeysPerEpoch: 2 },
    prepare(consumers) {
      const [one] = openThree(consumers)
      marked(consumers, 'a', 1)
      consumers.seal(one)
      consumers.mark([2, 3, 4])
      consumers.beginStop()
    },
  },
]

/** Each scenario in four tests, a quarter of the stores each. */
const inParts = scenarios.flatMap((each) => [1, 2, 3, 4].map((part) => ({ ...each, part })))

describe('Several consumers', () => {
  it('C14: each gets what was marked since its last committed epoch, whatever the others do', () => {
    histories('never', 200)
  })

  it('C8, C14: each gets it though the aggregator dies at any store, and its successors too', () => {
    histories('dies', 100)
  })

  it('C8, C14: each gets it though the aggregator throws at any store', () => {
    histories('throws', 100)
  })

  it.each(inParts)(
    'C8: an aggregator that dies at any store, and its successor too, makes the merges: $name, $part of 4',
    ({ options: settings = {}, prepare, stops = false, part }) => {
      const consumers = new Consumers(3, { capacity: 16, ...settings }, 'dies')
      prepare(consumers)
      const { raw } = consumers
      const before = raw.words.slice()
      let stores = part - 1
      for (let isReached = true; isReached; stores += 4) {
        raw.words.set(before)
        consumers.dies()
        const deaths = [stores, (stores * 7) % 61]
        isReached = consumers.steps(1000, deaths) < deaths.length
        consumers.stepsTo(stops ? FINISHED_ALL : IDLE)
        if (stops) consumers.checkLast()
        else consumers.checkEach()
      }
      expect(stores).toBeGreaterThan(50)
    },
  )

  it('C14: batches are handled between the steps of a long merge, and another cut waits for it', () => {
    const consumers = new Consumers(2, { capacity: 16, laneCapacity: 2048, maxKeysPerEpoch: 8192 })
    const [one, two] = [consumers.open(false)!, consumers.open(false)!]
    const { words } = consumers.raw
    marked(consumers, 1)
    taken(consumers, one)
    const many = (from: number) => Array.from({ length: 2000 }, (_, i) => from + i)
    marked(consumers, ...many(5000))
    marked(consumers, ...many(6000))
    consumers.seal(two)
    consumers.steps(1)
    const head = words[HEAD]
    consumers.mark([2])
    consumers.mark([3])
    consumers.seal(one)
    expect([consumers.outbox.sealing.length, words[HEAD]]).toEqual([1, head])
    consumers.commit(one)
    consumers.seal(one)
    // The first seal is handled. Of its merge two steps are made, and the batches beside them.
    consumers.steps(2)
    expect([words[HEAD] - head, indexOfJob(words[JOB])]).toEqual([2, 0])
    consumers.steps(1)
    expect([words[HEAD] - head, indexOfJob(words[JOB])]).toEqual([2, 0])
    consumers.stepsTo(IDLE)
    consumers.checkAll()
  })

  it('a JOB word says which plan it is of, and no word with a changed bit is one', () => {
    for (const epoch of [0, 1, 2 ** 18, 2 ** 19 - 1]) {
      for (let index = 0; index < 15; index++) {
        const word = jobWord(epoch, index)
        expect([isJob(word), epochOfJob(word), indexOfJob(word)]).toEqual([true, epoch, index])
        for (let bit = 0; bit < 32; bit++) expect(isJob(word ^ (1 << bit))).toBe(false)
      }
    }
    expect(isJob(0)).toBe(false) // no plan yet
  })

  it('C14: a consumer that asks for two epochs at once gets one after the other', () => {
    const consumers = new Consumers(2, { capacity: 16 })
    const { outbox } = consumers
    const { place } = consumers.open(false)!
    consumers.stepsTo(IDLE)
    consumers.take()
    const tickets: Ticket[] = Array.from({ length: 3 }, () => ({ place }))
    for (const ticket of tickets) requestSeal(outbox, ticket)
    const answers = tickets.map(() => {
      consumers.send()
      consumers.stepsTo(IDLE)
      const { ticket } = takeSealed(outbox)!
      expect(takeSealed(outbox)).toBeUndefined()
      commitPlace(outbox, place)
      return ticket
    })
    expect(answers.map((ticket) => tickets.indexOf(ticket!))).toEqual([0, 1, 2])
    consumers.checkSlots()
  })

  it('C14: a merge that fails eight times makes an epoch of its target that says so, and no other', () => {
    const consumers = new Consumers(3, { capacity: 16 }, 'throws')
    const [one, two, three] = openThree(consumers)
    marked(consumers, 1, 2)
    consumers.seal(one)
    const { layout, words } = consumers.raw
    // One of the two that did not cut has the sealed slot itself. The other one gets a merge.
    const { sealed } = consumers.outbox.sealing.at(-1)!
    const [whole, faulty] = two.place.backlog === sealed ? [two, three] : [three, two]
    const { backlog } = faulty.place
    const header = epochAt(layout, backlog)
    const isLog = (index: number) =>
      index >= header + layout.log && index < header + layout.log + 2 * layout.maxKeysPerEpoch
    const planted: OnAccess = (kind, index) => {
      if (kind === 'store' && isLog(index)) throw new Error('planted')
    }
    consumers.mark([3])
    watchAccesses(planted, () => consumers.stepsTo(IDLE))
    expect(words[PANICS]).toBe(8)
    expect(words[header + SLOT_FLAGS]).toBe(FLAG_FAULT)
    consumers.take()
    consumers.commit(one)
    taken(consumers, one)
    taken(consumers, whole)
    // What was merged after that is there.
    consumers.seal(faulty)
    consumers.stepsTo(IDLE)
    expect(takeSealed(consumers.outbox)).toMatchObject({ slot: backlog })
    expect(words[header + SLOT_FLAGS]).toBe(FLAG_FAULT)
    expect(logOf(consumers.raw, backlog)).toEqual([3n])
  })
})
