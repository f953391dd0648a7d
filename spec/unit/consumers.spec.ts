import { describe, it } from '@jest/globals'
import fc from 'fast-check'
import { Consumers, type MarkedKey, type Reader } from '../support/consumers.js'
import type { MemoryOptions } from '../support/steps.js'

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

const steps = (mayDie: boolean): fc.Arbitrary<Action> =>
  fc
    .tuple(
      fc.oneof(fc.nat(6), fc.constant(1000)),
      fc.array(fc.nat(40), { maxLength: mayDie ? 2 : 0 }),
    )
    .map(([most, deaths]) =>
      named(`${most} steps, dying at ${deaths.join()}`, (consumers) =>
        consumers.steps(most, deaths),
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

const actions = (mayDie: boolean): fc.Arbitrary<Action> =>
  fc.oneof(
    { weight: 6, arbitrary: marks },
    { weight: 5, arbitrary: steps(mayDie) },
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

/** A history, and its end: by a stop, or by a last epoch for each. */
const history = (mayDie: boolean) =>
  fc.tuple(
    fc.integer({ min: 1, max: 7 }),
    options,
    fc.array(fc.boolean(), { maxLength: 4 }),
    fc.array(actions(mayDie), { minLength: 10, maxLength: 60 }),
    fc.boolean(),
    fc.array(fc.nat(200), { maxLength: mayDie ? 3 : 0 }),
  )

function live(mayDie: boolean) {
  return ([size, settings, opened, all, stops, deaths]: [
    number,
    MemoryOptions,
    boolean[],
    Action[],
    boolean,
    number[],
  ]): void => {
    const consumers = new Consumers(size, settings, mayDie)
    for (const isFresh of opened) consumers.open(isFresh)
    for (const act of all) act(consumers)
    if (stops) consumers.stop(deaths)
    else consumers.checkAll()
  }
}

describe('Several consumers', () => {
  it('C14: each gets what was marked since its last committed epoch, whatever the others do', () => {
    fc.assert(fc.property(history(false), live(false)), { numRuns: 1000 })
  })

  it('C8, C14: each gets it though the aggregator dies at any store, and its successors too', () => {
    fc.assert(fc.property(history(true), live(true)), { numRuns: 300 })
  })
})
