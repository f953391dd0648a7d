import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, describe, expect, it, jest } from '@jest/globals'
import fc from 'fast-check'
import type { Consumer, Key } from '../../lib/index.js'
import { FORM_EXACT, FORM_FILTER } from '../../lib/memory/map.js'
import { NAMESPACE_MAX } from '../../lib/memory/slot.js'
import { loadState, saveState } from '../../lib/node.js'
import { watching } from '../../lib/platform/watching.js'
import { BLOCK_WORDS } from '../../lib/set/filter.js'
import { decodeState, encodeState, type SavedState } from '../../lib/tracker/saved.js'
import { mark, openForConsumers as start } from '../support/in-process.js'

const folder = mkdtempSync(join(tmpdir(), 'dirtyring-resume-'))
afterAll(() => {
  rmSync(folder, { recursive: true })
})

/** The keys of a consumer's next epoch, which it commits. */
async function take(consumer: Consumer): Promise<unknown> {
  return consumer.consume((epoch) =>
    epoch.exact ? [...epoch] : { reason: epoch.reason, precision: epoch.precision },
  )
}

const fresh = { reason: 'fresh', precision: 'everything' }

describe('save() and create({ resume })', () => {
  it('go on where each consumer stood: with its backlog, and with what it had in hand', async () => {
    const before = await start()
    const one = before.consumer('one', { from: 'now' })
    const two = before.consumer('two', { from: 'now' })
    mark(before, 1, 'a')
    await one.consume(() => undefined)
    mark(before, 2, 'b')
    const inHand = await two.advanceEpoch()
    expect(inHand.size).toBe(4)
    mark(before, 3, 'c')
    const [clockOfOne, clockOfTwo] = [one.clock!, two.clock!]
    await before.stop()

    const after = await start({ resume: before.save() })
    expect(after.stats().consumers.map(({ name, keys }) => [name, keys])).toEqual([
      ['one', 4],
      ['two', 6],
    ])
    mark(after, 4)
    expect(await take(after.consumer('one', { since: clockOfOne }))).toEqual([2, 3, 4, 'b', 'c'])
    const rest = await take(after.consumer('two', { since: clockOfTwo }))
    expect(new Set(rest as Key[])).toEqual(new Set([1, 2, 3, 4, 'a', 'b', 'c']))
  })

  it('keep what was marked before a resumed consumer is opened, while others cut', async () => {
    const before = await start()
    const { clock } = before.consumer('slow', { from: 'now' })
    before.consumer('quick', { from: 'now' })
    mark(before, 1)
    await before.stop()
    const after = await start({ resume: before.save() })
    const quick = after.consumer('quick', { since: 'gone' })
    mark(after, 2)
    expect(await take(quick)).toEqual(fresh)
    mark(after, 3)
    expect(await take(quick)).toEqual([3])
    expect(await take(after.consumer('slow', { since: clock }))).toEqual([1, 2, 3])
  })

  it('serve a clock that was stored, and whose commit() was lost', async () => {
    const before = await start()
    const consumer = before.consumer('one', { from: 'now' })
    mark(before, 1)
    const epoch = await consumer.advanceEpoch()
    const stored = epoch.clock // in the same transaction as its keys; then the process stops
    await before.stop()
    const after = await start({ resume: before.save() })
    expect(await take(after.consumer('one', { since: stored }))).toEqual([1])
  })

  it('are fresh for an older clock, a newer one, another consumer and other namespaces', async () => {
    const before = await start()
    const consumer = before.consumer('one', { from: 'now' })
    const old = consumer.clock!
    mark(before, 1)
    await take(consumer)
    const { clock } = consumer
    mark(before, 2)
    await before.stop()
    const resume = before.save()
    const newer = clock!.replace(/\d+$/, (epoch) => String(Number(epoch) + 9))
    for (const [name, options] of [
      ['one', { since: old }],
      ['one', { since: newer }],
      ['two', { since: clock }],
      ['one', { since: clock, namespaces: [0] }],
      ['one', { since: undefined }],
      ['one', { since: '' }],
    ] as const) {
      const after = await start({ resume })
      expect(await take(after.consumer(name, options))).toEqual(fresh)
    }
    const after = await start({ resume })
    expect(await take(after.consumer('one', { since: clock }))).toEqual([2])
  })

  it('take no clock of a run that began with the same bytes', async () => {
    const before = await start()
    const { clock } = before.consumer('one', { from: 'now' })
    await before.stop()
    const resume = before.save()
    const first = await start({ resume })
    const one = first.consumer('one', { since: clock })
    mark(first, 1)
    await take(one)
    const stored = one.clock
    expect(stored).not.toBe(clock)
    await first.stop()
    const second = await start({ resume })
    mark(second, 2)
    expect(await take(second.consumer('one', { since: stored }))).toEqual(fresh)
  })

  it('serve a clock of the first run after two clean restarts', async () => {
    const first = await start()
    const { clock } = first.consumer('one', { from: 'now' })
    mark(first, 1)
    await first.stop()
    const second = await start({ resume: first.save() })
    second.consumer('one', { since: clock })
    mark(second, 2)
    await second.stop()
    const third = await start({ resume: second.save() })
    mark(third, 3)
    const fourth = third.consumer('one', { since: clock })
    expect(await take(fourth)).toEqual([1, 2, 3])
    await third.stop()
    expect(third.save().length).toBeGreaterThan(0)
  })

  it('stay fresh if no epoch that said so was committed', async () => {
    const before = await start()
    const consumer = before.consumer('one')
    mark(before, 1)
    await (await consumer.advanceEpoch()).restore()
    await before.stop()
    const after = await start({ resume: before.save() })
    mark(after, 2)
    expect(await take(after.consumer('one', { since: undefined }))).toEqual(fresh)
  })

  it('keep supersets, namespaces and what makes an epoch inexact', async () => {
    const before = await start()
    const { clock } = before.consumer('all', { from: 'now' })
    const { clock: other } = before.consumer('three', { from: 'now', namespaces: [3] })
    for (let i = 0; i < 100; i++) mark(before, i, `text ${i}`)
    before.markEverything(7)
    const writer = before.openWriter()
    writer.markPair(5, 3)
    await before.stop()
    for (const maxKeysPerEpoch of [16, 64, 1024]) {
      const after = await start({ resume: before.save(), maxKeysPerEpoch, maxStringsPerEpoch: 16 })
      await after.consumer('all', { since: clock }).consume((epoch) => {
        expect(epoch.precision).toBe('superset')
        expect(epoch.everythingIn).toEqual([7])
        for (let i = 0; i < 100; i++)
          expect([epoch.has(i), epoch.has(`text ${i}`)]).toEqual([true, true])
        expect([epoch.hasPair(5, 3), epoch.hasPair(1, 7)]).toEqual([true, true])
      })
      const three = after.consumer('three', { since: other, namespaces: [3] })
      await three.consume((epoch) => {
        expect([epoch.hasPair(5, 3), epoch.has(5), epoch.has('text 5')]).toEqual([
          true,
          false,
          false,
        ])
      })
    }
  })

  it('take over backlogs of thousands of keys, and texts of any length', async () => {
    const sizes = { maxKeysPerEpoch: 4096, maxStringsPerEpoch: 2048 }
    const large = { ...sizes, maxStringBytesPerEpoch: 2 ** 18, laneTextBytes: 2 ** 17 }
    const before = await start(large)
    const { clock } = before.consumer('one', { from: 'now' })
    const { clock: other } = before.consumer('three', { from: 'now', namespaces: [3] })
    const quick = before.consumer('quick', { from: 'now' })
    const numbers = Array.from({ length: 700 }, (_, i) => i)
    const threes = numbers.map((i) => BigInt(i) + (3n << 32n))
    const texts = numbers.map((i) => `${i}`.padEnd(i % 90, '.'))
    const long = ['x'.repeat(9000), 'y'.repeat(30_000)]
    const writer = before.openWriter()
    for (const keys of [numbers, threes, texts, long]) {
      writer.markMany(keys)
      await quick.consume(() => undefined)
    }
    await before.stop()
    const resume = before.save()
    const after = await start({ ...large, resume })
    await after.consumer('one', { since: clock }).consume((epoch) => {
      expect(epoch.exact).toBe(true)
      const keys = [...epoch]
      expect(keys).toHaveLength(2102)
      expect(new Set(keys)).toEqual(
        new Set<Key>([...numbers, ...threes.map(Number), ...texts, ...long]),
      )
    })
    const three = after.consumer('three', { since: other, namespaces: [3] })
    await three.consume((epoch) => expect([...epoch.bigints]).toEqual(threes))
    // One text that the new tracker has no room for makes a superset; the rest is there.
    const small = await start({ ...large, maxStringBytesPerEpoch: 2 ** 14, resume })
    await small.consumer('one', { since: clock }).consume((epoch) => {
      expect(epoch.precision).toBe('superset')
      for (const key of [...numbers, ...threes, ...texts, ...long])
        if (!epoch.has(key)) throw new Error(`lost: ${String(key)}`)
    })
    // Without texts, each is the number that is its fingerprint.
    const none = await start({ ...large, maxStringsPerEpoch: 0, resume })
    await none.consumer('one', { since: clock }).consume((epoch) => {
      expect([epoch.exact, epoch.size]).toEqual([true, 2102])
      for (const text of [...texts, ...long]) if (!epoch.has(text)) throw new Error(`lost: ${text}`)
    })
  })

  it('lose no key between trackers of any sizes', async () => {
    const key = fc.oneof(
      fc.nat(200),
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      fc.string({ unit: 'binary', maxLength: 40 }),
      fc.uint8Array({ maxLength: 9 }),
    )
    const size = fc.constantFrom(1, 8, 64, 500)
    await fc.assert(
      fc.asyncProperty(
        fc.array(key, { maxLength: 60 }),
        fc.array(key, { maxLength: 20 }),
        size,
        size,
        fc.constantFrom(0, 4, 200),
        async (old, young, from, to, texts) => {
          const before = await start({ maxKeysPerEpoch: from })
          const { clock } = before.consumer('one', { from: 'now' })
          mark(before, ...old)
          await before.stop()
          const after = await start({
            resume: before.save(),
            maxKeysPerEpoch: to,
            maxStringsPerEpoch: texts,
            maxStringBytesPerEpoch: 64,
          })
          mark(after, ...young)
          await after.consumer('one', { since: clock }).consume((epoch) => {
            for (const each of [...old, ...young])
              if (!epoch.has(each)) throw new Error('a key lost')
            if (!epoch.exact) return
            const listed = [...epoch.listed()]
            expect(listed.length).toBeLessThanOrEqual(old.length + young.length)
          })
          await after.stop()
        },
      ),
      { numRuns: 60 },
    )
  })

  it('refuse more consumers than there is room for; forget() makes room', async () => {
    const before = await start()
    for (const name of ['a', 'b', 'c']) before.consumer(name, { from: 'now' })
    await before.stop()
    const resume = before.save()
    await expect(start({ resume, maxConsumers: 2 })).rejects.toMatchObject({
      code: 'ERR_DIRTYRING_NO_CONSUMER_SLOT',
    })
    const after = await start({ resume })
    expect(() => after.consumer('d')).toThrow(
      expect.objectContaining({ code: 'ERR_DIRTYRING_NO_CONSUMER_SLOT' }),
    )
    expect([after.forget('a'), after.forget('a'), after.forget('never')]).toEqual([
      true,
      false,
      false,
    ])
    expect(await take(after.consumer('d'))).toEqual(fresh)
  })

  it('warn of bytes that are damaged or foreign, and begin fresh', async () => {
    const before = await start()
    const { clock } = before.consumer('one', { from: 'now' })
    mark(before, 1, 'a')
    await before.stop()
    const good = before.save()
    const warn = jest.spyOn(watching, 'warn').mockImplementation(() => undefined)
    const bad = [
      new Uint8Array(0),
      new Uint8Array(400),
      good.subarray(0, 40),
      good.subarray(0, good.length - 4),
      good.map((byte, i) => byte ^ (i === 4 ? 1 : 0)), // the version
    ]
    for (const resume of bad) {
      const after = await start({ resume })
      expect(await take(after.consumer('one', { since: clock }))).toEqual(fresh)
    }
    expect(warn).toHaveBeenCalledTimes(bad.length)
    expect(warn).toHaveBeenCalledWith(expect.stringContaining('options.resume: the bytes '))
    warn.mockRestore()
    for (let i = 0; i < good.length; i++)
      expect(decodeState(good.map((byte, k) => byte ^ (k === i ? 1 : 0)))).toEqual(
        expect.any(String),
      )
    expect(decodeState(good)).toMatchObject({ consumers: [{ name: 'one', since: clock }] })
  })

  it('are damaged if their hash is right, and what they list is not', () => {
    const words = (...numbers: number[]) => Int32Array.from(numbers)
    const content = {
      flags: 0,
      namespaces: [0, NAMESPACE_MAX],
      form: FORM_EXACT,
      pairs: words(1, 0, 2, 0),
      records: words(7, 1 << 1, 97, 7, 5 << 1, 97, 97),
      filter: words(),
    }
    const filter = { ...content, form: FORM_FILTER, filter: new Int32Array(4 * BLOCK_WORDS) }
    const one = { name: 'one', since: 'clock', namespaces: [5], contents: [content, filter] }
    const lineage = [{ instance: 'first', upTo: 3 }]
    const decoded = (state: object) => decodeState(encodeState(state as SavedState))
    const of = (more: object) => decoded({ lineage, consumers: [{ ...one, ...more }] })
    const having = (more: object) => of({ contents: [content, { ...content, ...more }] })

    expect(of({})).toEqual({ lineage, consumers: [one] })
    expect(of({ since: undefined, namespaces: undefined })).toMatchObject({
      consumers: [{ name: 'one' }],
    })
    for (const [what, state] of Object.entries({
      name: of({ name: 1 }),
      since: of({ since: 1 }),
      'namespace of a consumer': of({ namespaces: [-1] }),
      'epoch of a tracker': decoded({ lineage: [{ instance: 'x', upTo: 0.5 }], consumers: [one] }),
      'instance of a tracker': decoded({ lineage: [{ instance: 1, upTo: 3 }], consumers: [one] }),
      flags: having({ flags: 0.5 }),
      'negative namespace': having({ namespaces: [-1] }),
      'namespace that is too high': having({ namespaces: [NAMESPACE_MAX + 1] }),
      form: having({ form: FORM_FILTER + 1 }),
      'filter without blocks': having({ form: FORM_FILTER }),
      'filter of three blocks': having({
        form: FORM_FILTER,
        filter: new Int32Array(3 * BLOCK_WORDS),
      }),
      'exact, with a filter': having({ filter: new Int32Array(BLOCK_WORDS) }),
      'half a pair': having({ pairs: words(1, 0, 2) }),
      'negative length of a text': having({ records: words(7, -2, 97) }),
      'text that goes on': having({ records: words(7, 5 << 1, 97) }),
      'length that is none': having({ pairs: { length: -2 } }),
    }))
      expect([what, state]).toEqual([what, 'are damaged'])
  })

  it('refuse what is no Uint8Array, and save() before stop()', async () => {
    await expect(start({ resume: 'bytes' as never })).rejects.toMatchObject({
      code: 'ERR_DIRTYRING_INVALID_ARG',
    })
    const tracker = await start()
    expect(() => tracker.save()).toThrow(expect.objectContaining({ code: 'ERR_DIRTYRING_BUSY' }))
  })
})

describe('saveState() and loadState()', () => {
  it('keep the state in a file, which is found once', async () => {
    const path = join(folder, 'state')
    expect(await loadState(path)).toBeUndefined()
    const before = await start()
    const { clock } = before.consumer('one', { from: 'now' })
    mark(before, 1, 'a')
    await before.stop()
    writeFileSync(path, 'an older one')
    await saveState(path, before)
    const resume = await loadState(path)
    expect([existsSync(path), await loadState(path)]).toEqual([false, undefined])
    const after = await start({ resume })
    expect(await take(after.consumer('one', { since: clock }))).toEqual([1, 'a'])
  })

  it('bring the file and its name to the disk, and close what they open', async () => {
    const path = join(folder, 'on the disk')
    const before = await start()
    await before.stop()
    const file = await open(folder, 'r')
    const prototype = Object.getPrototypeOf(file) as typeof file
    await file.close()
    const { sync } = prototype
    /** The files and folders that were brought to the disk; a number below 0 says: closed. */
    const synced: (typeof file)[] = []
    let code = ''
    const numbers = (): number[] => synced.splice(0).map(({ fd }) => fd)
    try {
      prototype.sync = async function () {
        synced.push(this)
        if (code !== '' && synced.length === 2) throw Object.assign(new Error('planted'), { code })
        await sync.call(this)
      }
      await saveState(path, before)
      expect(numbers()).toEqual([-1, -1])
      await loadState(path)
      expect(numbers()).toEqual([-1])
      code = 'EINVAL' // no folder can be brought to the disk on this system
      await saveState(path, before)
      expect(numbers()).toEqual([-1, -1])
      code = 'EIO'
      await expect(saveState(path, before)).rejects.toMatchObject({ code })
      expect(numbers()).toEqual([-1, -1])
    } finally {
      prototype.sync = sync
    }
  })

  it('keep the state where the system opens no folder', async () => {
    const path = join(folder, 'of a system without folders')
    const before = await start()
    await before.stop()
    const real = await import('node:fs/promises')
    const refuse = (name: string, flags: string): Promise<unknown> =>
      flags === 'r'
        ? Promise.reject(Object.assign(new Error('planted'), { code: 'EISDIR' }))
        : real.open(name, flags)
    jest.resetModules()
    jest.unstable_mockModule('node:fs/promises', () => ({ ...real, open: refuse }))
    const { saveState: save } = await import('../../lib/node.js')
    await save(path, before)
    expect(await loadState(path)).toEqual(Buffer.from(before.save()))
  })

  it('take the URL of a file', async () => {
    const path = join(folder, 'a state')
    const before = await start()
    await before.stop()
    await saveState(pathToFileURL(path), before)
    expect(existsSync(path)).toBe(true)
    expect(await loadState(pathToFileURL(path))).toEqual(Buffer.from(before.save()))
    expect(existsSync(path)).toBe(false)
  })

  it('reject with what the file system says', async () => {
    const before = await start()
    await before.stop()
    const path = join(folder, 'no such folder', 'state')
    await expect(saveState(path, before)).rejects.toMatchObject({ code: 'ENOENT' })
    const target = join(folder, 'not replaced')
    writeFileSync(target, 'a state')
    mkdirSync(join(`${target}.loaded`, 'a folder'), { recursive: true })
    await expect(loadState(target)).rejects.toHaveProperty('code')
  })
})
