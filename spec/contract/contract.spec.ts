import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from '@jest/globals'
import { complaints, differences } from '../support/contract.js'

const root = fileURLToPath(new URL('../..', import.meta.url))

describe('the built package, against the contract', () => {
  it('exports every name, with a type that can stand in its place', () => {
    expect(differences()).toEqual([])
  })

  it.each([
    {
      what: 'a function that is not exported',
      file: 'index',
      from: 'threadWriter, ',
      to: '',
      says: "'threadWriter' does not exist",
    },
    {
      what: 'a method of another name',
      file: 'writer/writer',
      from: 'waitForRoom(keys?',
      to: 'awaitRoom(keys?',
      says: "'waitForRoom' is missing",
    },
    {
      what: 'a method that takes less',
      file: 'writer/writer',
      from: 'keys: KeyList | ReadonlyBigints',
      to: 'keys: BigUint64Array',
      says: "'markMany' are incompatible",
    },
    {
      what: 'a method that asks for more',
      file: 'tracker/tracker',
      from: 'stop(options?',
      to: 'stop(options',
      says: "'stop' are incompatible",
    },
    {
      what: 'a static of another name',
      file: 'tracker/tracker',
      from: 'static create<',
      to: 'static open<',
      says: "'create' is missing",
    },
    {
      what: 'a constructor that asks for more',
      file: 'writer/txn-buffer',
      from: 'txnId?: number | bigint, expectedKeys?',
      to: 'txnId: number | bigint, expectedKeys?',
      says: 'typeof TxnBuffer',
    },
    {
      what: 'a property that may have another value',
      file: 'epochs/sealed-epoch',
      from: `state(): 'sealed'`,
      to: `state(): 'open'`,
      says: "'state' are incompatible",
    },
    {
      what: 'an option that takes less',
      file: 'options',
      from: `onFull?: 'wait' | `,
      to: 'onFull?: ',
      says: "'onFull' are incompatible",
    },
    {
      what: "an event's field that is gone",
      file: 'tracker/events',
      from: 'retryInMs: number;',
      to: '',
      says: "'retryInMs' is missing",
    },
    {
      what: 'a dictionary that takes text alone',
      file: 'dictionary/key-dictionary',
      from: 'find(key: string | Uint8Array)',
      to: 'find(key: string)',
      says: "'find' are incompatible",
    },
  ])('would be found to have $what', ({ file, from, to, says }) => {
    let changed = 0
    const found = differences((path, text) => {
      if (!path.endsWith(`dist/${file}.d.ts`)) return text
      changed++
      return text.replace(from, () => (changed++, to))
    })

    expect(changed).toBe(2)
    expect(found.join('\n')).toContain(says)
  })

  const HEAD = `
    import { attachEpoch, BatchProducer, BatchRing, DirtyTracker, FingerprintSet, fingerprint, KeyDictionary, openWriter,
      SealedEpoch, TxnBuffer, withWriter, Writer } from 'dirtyring'
    import type { Consumer, Epoch, EpochKeys, EpochReader, Key, Markable } from 'dirtyring'
    declare const writer: Writer, txn: TxnBuffer, tracker: DirtyTracker, epoch: SealedEpoch
    declare const ring: BatchRing, names: KeyDictionary, set: FingerprintSet, keys: string[]
  `

  it.each<[what: string, program: string, says: string]>([
    ['a writer that no tracker opened', 'new Writer()', 'private'],
    ['an epoch, a tracker or a ring by new', 'new SealedEpoch()', 'private'],
    ['a tracker by new', 'new DirtyTracker()', 'private'],
    ['a producer by new', 'new BatchProducer()', 'private'],
    [
      'a hand-made writer in flushTo()',
      'txn.flushTo({ ...({} as Markable), id: 0, staged: 0 } as never as Markable)',
      'is not assignable',
    ],
    ['an object as a handle', 'openWriter({})', 'missing'],
    ["a ring's handle for a tracker's", 'openWriter(ring.handle)', 'not assignable'],
    ["a tracker's handle for a ring's", 'BatchRing.attach(tracker.handle)', 'not assignable'],
    ["a tracker's handle for an epoch's", 'attachEpoch(tracker.handle)', 'not assignable'],
    ["an epoch's handle for a tracker's", 'openWriter(epoch.handle)', 'not assignable'],
    ["a ring's handle for a dictionary's", 'KeyDictionary.attach(ring.handle)', 'not assignable'],
    [
      'an async function in batch()',
      'writer.batch(async () => { writer.mark(1) })',
      'batch() is synchronous only',
    ],
    ['a promise in batch()', 'writer.batch(() => Promise.resolve(1))', 'synchronous only'],
    ['a write to bigints', 'epoch.bigints[0] = 1n', 'only permits reading'],
    ['a write to pairs', 'epoch.pairs[0] = 1', 'only permits reading'],
    ['sort() of pairs', 'epoch.pairs.sort()', "'sort' does not exist"],
    ['subarray() of bigints', 'epoch.bigints.subarray(1).fill(0n)', "'subarray' does not exist"],
    ['a second argument of mark()', "writer.mark('users', 7)", 'Expected 1 arguments'],
    ['a seed by itself', "fingerprint('a', 7)", 'no properties in common'],
    ['the index as a seed', 'keys.map(fingerprint)', 'no properties in common'],
    [
      'a key of any kind where a string is wanted',
      'for (const key of epoch) new Set<string>().delete(key)',
      'not assignable',
    ],
    [
      "a number of an epoch of keys: 'string'",
      `DirtyTracker.create({ keys: 'string' }).then((dirty) =>
        dirty.consume((each) => [...each].map((key): number => key)))`,
      "'string' is not assignable to type 'number'",
    ],
    ['a kind of keys that there is not', "DirtyTracker.create({ keys: 'text' })", 'not assignable'],
    ['one key as a list', "writer.markMany('abc')", 'not assignable'],
    ['floats as pairs', 'writer.markPairs(new Float64Array(2))', 'not assignable'],
  ])('refuses %s', (_, program, says) => {
    expect(complaints(HEAD + program).join('\n')).toContain(says)
  })

  it('takes what it should take', () => {
    const program = `${HEAD}
      const dirty: Markable[] = [writer, txn]
      const reader: EpochReader = tracker
      const one: Epoch = epoch
      const elsewhere: EpochKeys = attachEpoch(epoch.handle)
      keys.forEach(writer.mark, writer)
      const known: string[] = keys.filter(epoch.has, epoch)
      writer.markMany(epoch.bigints) && writer.markPairs(epoch.pairs)
      set.addMany(epoch.bigints) + set.addPairs(epoch.pairs)
      const answer: number = writer.batch(() => 42)
      writer.batch(() => { throw new Error('rolled back') })
      const later: Promise<number> = withWriter(tracker.handle, async () => 42)
      for (const key of epoch) { const any: Key = key }
      for (const key of epoch.numbers()) { const either: number | bigint = key }
      for (const key of epoch.texts()) { const either: string | Uint8Array = key }
      const paths: string[] = [...epoch.strings()]
      const copy: BigUint64Array = epoch.bigints.slice().sort()
      const body = new Response(names.bytes(0))
      const cache = new Map<string, number>()
      async function typed(): Promise<void> {
        const dirty = await DirtyTracker.create({ keys: 'string' })
        await dirty.consume((each) => { for (const key of each) cache.delete(key) })
        for await (const each of dirty.epochs({ everyMs: 100 }))
          for (const key of each.listed()) cache.delete(key)
        const taken = await dirty.tryAdvanceEpoch()
        for (const key of taken ?? await dirty.advanceEpoch()) cache.delete(key)
        for (const key of await dirty.stop()) cache.delete(key)
        const ids = await DirtyTracker.create({ keys: 'number' })
        for (const id of await ids.advanceEpoch()) id.toFixed()
        const wide = await DirtyTracker.create({ keys: 'bigint', batchSize: 1 })
        for (const key of await wide.advanceEpoch()) BigInt.asIntN(64, key)
        const bytes = await DirtyTracker.create({ keys: 'bytes' })
        for (const key of await bytes.advanceEpoch()) key.subarray(1)
        const any: DirtyTracker = await DirtyTracker.create()
        const named: Consumer<string> = dirty.consumer('cache', { since: epoch.clock })
        for await (const each of named.epochs({ everyMs: 100 }))
          for (const key of each.listed()) cache.delete(key)
        const either: EpochReader = Math.random() < 0.5 ? any : any.consumer('any')
        await any.stop({ consume: (each, consumer) => console.log(consumer?.name, each.size) })
      }
      typed()
      function library(batch: { batch<T>(use: () => T): T }): void {}
      library(writer)
      export { dirty, reader, one, elsewhere, known, answer, later, copy, body }
    `
    expect(complaints(program)).toEqual([])
  })

  it('has the public declarations that docs/dirtyring.api.md reports; after a change that is meant, `npm run api` renews it', () => {
    const { NODE_OPTIONS: _, ...env } = process.env
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ['node_modules/@microsoft/api-extractor/bin/api-extractor', 'run'],
      {
        cwd: root,
        env,
        encoding: 'utf8',
      },
    )

    expect({ status, output: status === 0 ? '' : stdout + stderr }).toEqual({
      status: 0,
      output: '',
    })
  })
})
