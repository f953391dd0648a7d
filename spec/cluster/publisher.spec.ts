import { getEventListeners } from 'node:events'
import { afterEach, describe, expect, it, jest } from '@jest/globals'
import { decodeEpochBody, decodeNamespacesBody } from '../../lib/cluster/body.js'
import { decodeKeys } from '../../lib/cluster/decode.js'
import { ENVELOPE_LAST_PART, KIND, openEnvelope } from '../../lib/cluster/envelope.js'
import {
  decodeEpoch,
  type EpochSink,
  publishEpochs,
  Publisher,
  type PublishOptions,
} from '../../lib/cluster/index.js'
import { Publication } from '../../lib/cluster/publication.js'
import { SealedEpoch } from '../../lib/epochs/sealed-epoch.js'
import { DirtyRingError } from '../../lib/errors.js'
import type { Consumer, DirtyTracker } from '../../lib/index.js'
import { watching } from '../../lib/platform/watching.js'
import { Advances } from '../../lib/tracker/pending/advances.js'
import { Flushes } from '../../lib/tracker/pending/flushes.js'
import { expectError, INVALID_ARG, OUT_OF_RANGE } from '../support/bad-input.js'
import { FaultLog } from '../support/fault-log.js'
import {
  isPending,
  openHeld,
  openInline,
  range,
  rejected,
  thrown,
  turns,
  until,
} from '../support/in-process.js'

const publishers: Publisher[] = []

afterEach(async () => {
  for (const each of publishers.splice(0)) await each.close({ timeoutMs: 0 }).catch(() => undefined)
  jest.restoreAllMocks()
})

interface Scene {
  readonly tracker: DirtyTracker
  readonly consumer: Consumer
  readonly log: FaultLog
  readonly publisher: Publisher
  readonly mark: (...keys: (number | string)[]) => void
}

async function publish(
  consumer: Consumer,
  log: FaultLog,
  options: Partial<PublishOptions> = {},
): Promise<Publisher> {
  const publisher = await publishEpochs(consumer, { sink: log.sink(), everyMs: 5, ...options })
  publishers.push(publisher)
  return publisher
}

async function open(options: Partial<PublishOptions> = {}): Promise<Scene> {
  const tracker = await openInline({ maxConsumers: 2 })
  const consumer = tracker.consumer('cluster')
  const log = new FaultLog({ seed: 1 })
  const publisher = await publish(consumer, log, options)
  const writer = tracker.openWriter()
  const mark = (...keys: (number | string)[]): void => {
    writer.markMany(keys)
    writer.flush()
  }
  return { tracker, consumer, log, publisher, mark }
}

/** A publisher beside a reader of its consumer that has key 1 in hand; key 2 is marked later. */
async function openBesideReader(options: Partial<PublishOptions> = {}) {
  const tracker = await openInline({ maxConsumers: 1 })
  const consumer = tracker.consumer('cluster', { from: 'now' })
  const writer = tracker.openWriter()
  writer.mark(1)
  const epoch = await consumer.advanceEpoch()
  const log = new FaultLog({ seed: 1 })
  const publisher = await publish(consumer, log, options)
  writer.mark(2)
  writer.flush()
  return { tracker, epoch, log, publisher }
}

const NAMES = ['', 'open', 'epoch', 'beat', 'close', 'namespaces']

/** What the log has of an instance, one word a message: its number, its kind, its keys. */
function told(log: FaultLog, instance?: string): string[] {
  const own = log.entries.filter((each) => instance === undefined || each.instance === instance)
  return own.map(({ bytes }) => {
    const { n, kind, body } = openEnvelope(bytes)!
    const name = `${n} ${NAMES[kind]}`
    if (kind !== KIND.EPOCH) return name
    const epoch = decodeEpoch(decodeEpochBody(body).keys)
    return [name, epoch.exact ? [...epoch].sort().join(' ') : epoch.reason].join(' ')
  })
}

const silent = (): { events: string[]; listen: (publisher: Publisher) => void } => {
  const events: string[] = []
  const listen = (publisher: Publisher): void => {
    publisher.on('away', ({ error }) => events.push(`away ${(error as { code?: string }).code}`))
    publisher.on('back', ({ awayMs }) => events.push(awayMs > 0 ? 'back' : 'never away'))
    publisher.on('warning', ({ message }) => events.push(message))
    publisher.on('error', ({ error }) => events.push(`error ${(error as Error).message}`))
  }
  return { events, listen }
}

/** What a mocked Publication.next() said is to be done. */
const stepOf = (result: { readonly value?: unknown } | undefined): string | undefined =>
  (result?.value as { readonly do: string } | undefined)?.do

describe('publishEpochs()', () => {
  it('has OPEN in the log when it resolves, then what is marked, then CLOSE', async () => {
    const { log, publisher, mark, tracker } = await open({ node: 'web-1' })
    expect(told(log)).toEqual(['0 open'])
    expect([publisher.node, log.entries[0].node]).toEqual(['web-1', 'web-1'])
    expect(publisher.instance).toMatch(/^[0-9a-f]{32}$/)
    mark(1, 2)
    await publisher.appended()
    mark('a')
    await publisher.close()
    expect(told(log)).toEqual(['0 open', '1 epoch 1 2', '2 epoch a', '3 close'])
    expect(new Set(log.entries.map(({ instance }) => instance))).toEqual(
      new Set([publisher.instance]),
    )
    await tracker.stop()
  })

  it('appends the last epoch of stop(), and then CLOSE', async () => {
    const { log, publisher, mark, tracker } = await open({ everyMs: 60_000 })
    mark(1)
    const seen: string[] = []
    await tracker.stop({ consume: (_, consumer) => seen.push(consumer!.name) })
    await publisher.close()
    expect(told(log)).toEqual(['0 open', '1 epoch 1', '2 close'])
    expect(seen).toEqual([]) // the publisher has the consumer's last epoch
  })

  it('labels the node by the host and the process', async () => {
    const { publisher } = await open()
    expect(publisher.node).toMatch(new RegExp(`^[A-Za-z0-9_-]{1,58}-${process.pid}$`))
  })

  it('is everything if keys were marked before the consumer was opened', async () => {
    const tracker = await openInline({ maxConsumers: 2 })
    const writer = tracker.openWriter()
    writer.mark(1)
    const log = new FaultLog({ seed: 1 })
    for (const consumer of [tracker.consumer('a'), tracker.consumer('b', { from: 'now' })]) {
      const publisher = await publish(consumer, log, { everyMs: 60_000 })
      writer.mark(2)
      await publisher.appended()
      writer.mark(3)
      await publisher.close()
      expect(told(log, publisher.instance)).toEqual([
        '0 open',
        '1 epoch fresh',
        '2 epoch 3',
        '3 close',
      ])
      const { bytes } = log.entries.find(
        ({ instance, n }) => instance === publisher.instance && n === 1,
      )!
      expect(decodeKeys(decodeEpochBody(openEnvelope(bytes)!.body).keys)).toMatchObject({
        precision: 'everything',
        reason: 'fresh',
        isBigint: false,
        hasPrints: false,
      })
    }
  })

  it('is everything once, although no key was marked since the consumer was opened', async () => {
    const tracker = await openInline({ maxConsumers: 1 })
    const writer = tracker.openWriter()
    writer.mark(1)
    const log = new FaultLog({ seed: 1 })
    const publisher = await publish(tracker.consumer('a', { from: 'now' }), log, { everyMs: 1 })
    await until(() => log.length >= 2)
    writer.mark(3)
    await publisher.close()
    expect(told(log)).toEqual(['0 open', '1 epoch fresh', '2 epoch 3', '3 close'])
  })

  it('is exact from OPEN although another consumer has cut before the first mark', async () => {
    const tracker = await openInline({ maxConsumers: 2 })
    const consumer = tracker.consumer('cluster')
    tracker.consumer('cache', { from: 'now' })
    const log = new FaultLog({ seed: 1 })
    const publisher = await publish(consumer, log)
    tracker.openWriter().mark(7)
    await publisher.close()
    expect(told(log)).toEqual(['0 open', '1 epoch 7', '2 close'])
  })

  it('is everything if a cut took keys away before it began', async () => {
    const tracker = await openInline({ maxConsumers: 2 })
    const consumer = tracker.consumer('cluster') // fresh: nothing is kept for it
    const writer = tracker.openWriter()
    writer.mark(7)
    tracker.consumer('cache', { from: 'now' })
    const log = new FaultLog({ seed: 1 })
    const publisher = await publish(consumer, log)
    await publisher.close()
    expect(told(log)).toEqual(['0 open', '1 epoch fresh', '2 close'])
  })

  it('is everything if a cut took away that everything was marked', async () => {
    const tracker = await openInline({ maxConsumers: 2 })
    const other = tracker.consumer('other', { from: 'now' })
    const consumer = tracker.consumer('cluster')
    tracker.markEverything()
    await other.consume((epoch) => expect(epoch.reason).toBe('everything'))
    const log = new FaultLog({ seed: 1 })
    const publisher = await publish(consumer, log, { everyMs: 60_000 })
    await publisher.appended()
    expect(told(log)).toEqual(['0 open', '1 epoch fresh'])
    await tracker.stop()
  })

  it('is everything if another reader of the consumer has committed keys before', async () => {
    const tracker = await openInline({ maxConsumers: 1 })
    const consumer = tracker.consumer('cluster', { from: 'now' })
    const log = new FaultLog({ seed: 1 })
    const first = await publish(consumer, log)
    const writer = tracker.openWriter()
    writer.mark(1)
    await first.close()
    const second = await publish(consumer, log)
    writer.mark(2)
    await second.close()
    expect(told(log, second.instance)).toEqual(['0 open', '1 epoch 2', '2 close'])
    writer.mark(3)
    await consumer.consume(() => undefined)
    const third = await publish(consumer, log)
    await third.close()
    expect(told(log, third.instance)).toEqual(['0 open', '1 epoch fresh', '2 close'])
  })

  it('gives two publishers of one tracker two instances', async () => {
    const { tracker, log, publisher, mark } = await open({ node: 'a' })
    const other = await publish(tracker.consumer('slow', { from: 'now' }), log, { node: 'a' })
    mark(1)
    await publisher.close()
    await other.close()
    expect(other.instance).not.toBe(publisher.instance)
    for (const { instance } of [publisher, other])
      expect(told(log, instance)).toEqual(['0 open', '1 epoch 1', '2 close'])
  })

  it('is the only reader of its consumer, until it is closed', async () => {
    const { consumer, log, publisher, mark } = await open()
    const BUSY = { name: 'DirtyRingError', code: 'ERR_DIRTYRING_BUSY' }
    expectError(await rejected(consumer.advanceEpoch()), BUSY)
    expectError(await rejected(publish(consumer, log)), BUSY)
    await publisher.close()
    mark(3)
    expect(await consumer.consume((epoch) => [...epoch])).toEqual([3])
    const loop = consumer.epochs({ everyMs: 1, skipEmpty: false })
    await loop.next()
    expectError(await rejected(publish(consumer, log)), BUSY)
    await loop.return?.()
  })

  it('refuses a consumer that is closed, and a tracker that has stopped', async () => {
    const tracker = await openInline({ maxConsumers: 2 })
    const log = new FaultLog({ seed: 1 })
    const [closed, open] = [tracker.consumer('a'), tracker.consumer('b')]
    closed.close()
    expect(await rejected(publish(closed, log))).toMatchObject({ code: 'ERR_DIRTYRING_CLOSED' })
    await tracker.stop()
    expect(await rejected(publish(open, log))).toMatchObject({ code: 'ERR_DIRTYRING_STOPPED' })
  })

  it('ends with an error, and without CLOSE, when its consumer is closed', async () => {
    const { consumer, log, publisher } = await open()
    const failed = new Promise<unknown>((resolve) =>
      publisher.on('error', ({ error }) => resolve(error)),
    )
    consumer.close()
    expect(await failed).toMatchObject({ code: 'ERR_DIRTYRING_CLOSED' })
    expect(told(log)).toEqual(['0 open'])
    expect(await rejected(publisher.appended())).toBe(await failed)
    expect(await rejected(publisher.close())).toBe(await failed)
  })

  it('ends with a coded error if its consumer is closed before stop()', async () => {
    const { tracker, consumer, log, publisher, mark } = await open({ everyMs: 60_000 })
    publisher.on('error', () => undefined)
    mark(1)
    consumer.close()
    await tracker.stop()
    expectError(await rejected(publisher.close()), {
      name: 'DirtyRingError',
      code: 'ERR_DIRTYRING_CLOSED',
    })
    expect(told(log)).toEqual(['0 open'])
  })

  it('frees the consumer if the sink throws when it begins', async () => {
    const tracker = await openInline({ maxConsumers: 1 })
    const consumer = tracker.consumer('cluster')
    const log = new FaultLog({ seed: 1 })
    const sink: EpochSink = { ...log.sink(), onCut: () => raise(new Error('no connection')) }
    expect((await rejected(publish(consumer, log, { sink }))).message).toBe('no connection')
    const publisher = await publish(consumer, log)
    await publisher.close()
    expect(told(log)).toEqual(['0 open', '1 close'])
  })

  it('warns the process of its end if there is no listener', async () => {
    const { consumer, publisher } = await open({ node: 'x' })
    const warn = jest.spyOn(watching, 'warn').mockImplementation(() => undefined)
    consumer.close()
    await publisher.close().catch(() => undefined)
    expect(warn.mock.calls.flat().join()).toMatch(/publisher x has ended without its last message/)
  })
})

describe('a publisher whose engine is away', () => {
  it('retries OPEN until the engine is there', async () => {
    const tracker = await openInline({ maxConsumers: 1 })
    const log = new FaultLog({ seed: 1 })
    log.goAway()
    const opening = publish(tracker.consumer('cluster'), log)
    expect(await isPending(opening)).toBe(true)
    log.comeBack()
    await opening
    expect(told(log)).toEqual(['0 open'])
  })

  it('rejects with the reason of an abort while it opens, and frees the consumer', async () => {
    const tracker = await openInline({ maxConsumers: 1 })
    const consumer = tracker.consumer('cluster')
    const log = new FaultLog({ seed: 1 })
    log.goAway()
    const controller = new AbortController()
    const opening = publish(consumer, log, { signal: controller.signal })
    opening.catch(() => undefined)
    await isPending(opening)
    const reason = new Error('no time')
    controller.abort(reason)
    expect(await rejected(opening)).toBe(reason)
    log.comeBack()
    await publish(consumer, log)
    expect(await rejected(publish(consumer, log, { signal: AbortSignal.abort(reason) }))).toBe(
      reason,
    )
  })

  it('closes when the signal is aborted later', async () => {
    const controller = new AbortController()
    const { log, publisher, mark } = await open({ signal: controller.signal })
    mark(1)
    controller.abort()
    await publisher.close()
    expect(told(log)).toEqual(['0 open', '1 epoch 1', '2 close'])
  })

  it('keeps the keys in the consumer, blocks no mark, and tells of it once', async () => {
    const { log, publisher, mark } = await open({ everyMs: 1 })
    const { events, listen } = silent()
    listen(publisher)
    log.goAway()
    for (const key of range(0, 50)) mark(key)
    const appended = publisher.appended()
    await until(() => events.length > 0)
    mark(99)
    expect(await isPending(appended)).toBe(true)
    log.comeBack()
    await appended
    await publisher.appended()
    expect(events).toEqual(['away ERR_DIRTYRING_AWAY', 'back'])
    await publisher.close()
    const keys = told(log).flatMap((each) => each.split(' ').slice(2).map(Number))
    expect([...new Set(keys)].sort((a, b) => a - b)).toEqual([...range(0, 50), 99])
  })

  it('appends the same bytes again after a missing answer', async () => {
    const { log, publisher, mark } = await open({ everyMs: 60_000 })
    log.rates.lostAfter = 1
    log.isFenced = false
    mark(1)
    const appended = publisher.appended()
    await until(() => log.length >= 3)
    log.quiet()
    mark(2)
    await appended
    const [, first, ...again] = log.entries.filter(({ n }) => n <= 1)
    expect(again.length).toBeGreaterThan(0)
    for (const each of again) expect(each.bytes).toEqual(first.bytes)
  })

  it('knows its own message when the engine refuses it the second time', async () => {
    const { log, publisher, mark } = await open({ everyMs: 60_000 })
    log.rates.lostAfter = 1
    mark(1)
    const appended = publisher.appended()
    await until(() => log.length >= 2)
    log.quiet()
    await appended
    await publisher.close()
    expect(told(log)).toEqual(['0 open', '1 epoch 1', '2 close'])
  })

  it('goes on behind what is left of a log that lost its tail', async () => {
    const { log, publisher, mark } = await open({ everyMs: 60_000 })
    const { events, listen } = silent()
    listen(publisher)
    mark(1)
    await publisher.appended()
    log.makeAnew()
    mark(2)
    await publisher.appended()
    expect(told(log)).toEqual(['2 epoch 2'])
    await until(() => events.length > 0)
    expect(events[0]).toMatch(/the log has lost messages of this publisher/)
  })

  it('draws another instance when another process has its numbers, and says all again', async () => {
    const { log, publisher, mark } = await open({ everyMs: 60_000, namespaces: [0] })
    const { events, listen } = silent()
    listen(publisher)
    const { instance } = publisher
    const node = publisher.node
    log.inject({ node, instance, n: 1, bytes: Uint8Array.of(1, 2, 3) })
    mark(5)
    await publisher.appended()
    expect(publisher.instance).not.toBe(instance)
    expect(told(log, publisher.instance)).toEqual(['0 open', '2 epoch 5'])
    expect(events[0]).toMatch(/goes on as another instance/)
  })

  it('gives up after timeoutMs, and the next process goes on from save()', async () => {
    const { tracker, consumer, log, publisher, mark } = await open({ everyMs: 1, node: 'a' })
    mark(1)
    await publisher.appended()
    log.goAway()
    mark(2)
    expect(() => publisher.save()).toThrow(/await publisher.close\(\) before/)
    await tracker.stop()
    const error = await rejected(publisher.close({ timeoutMs: 30 }))
    expect(error).toMatchObject({ code: 'ERR_DIRTYRING_AWAY' })
    const { clock } = consumer
    const next = await openInline({ maxConsumers: 1, resume: tracker.save() })
    const resumed = next.consumer('cluster', { since: clock })
    log.comeBack()
    const second = await publish(resumed, log, { node: 'a', resume: publisher.save() })
    expect(second.instance).toBe(publisher.instance)
    await second.close()
    const words = told(log, second.instance)
    expect(words.slice(0, 2)).toEqual(['0 open', '1 epoch 1'])
    expect(words.at(-1)).toMatch(/close$/)
    expect(words.join()).toMatch(/epoch 2/)
    expect(words.join()).not.toMatch(/fresh/)
    expect(words.map((each) => Number(each.split(' ')[0]))).toEqual(range(0, words.length))
  })

  it('takes all keys for dirty if the consumer is not the one that was saved', async () => {
    const { tracker, log, publisher, mark } = await open({ everyMs: 1 })
    mark(1)
    log.goAway()
    await tracker.stop()
    await rejected(publisher.close({ timeoutMs: 0 }))
    log.comeBack()
    const next = await openInline({ maxConsumers: 1 })
    const second = await publish(next.consumer('cluster'), log, { resume: publisher.save() })
    await second.close()
    expect(second.instance).toBe(publisher.instance)
    expect(told(log).join()).toMatch(/epoch fresh/)
  })

  it('takes all keys for dirty if the consumer stood nowhere when it was saved', async () => {
    const tracker = await openInline({ maxConsumers: 1 })
    const writer = tracker.openWriter()
    writer.mark(99)
    writer.flush()
    const log = new FaultLog({ seed: 1 })
    const tag = (): never => raise(new Error('no connection'))
    const consumer = tracker.consumer('cluster') // fresh
    const publisher = await publish(consumer, log, { everyMs: 60_000, tag })
    publisher.on('error', () => undefined)
    log.goAway()
    await tracker.stop()
    await rejected(publisher.close({ timeoutMs: 0 }))
    log.comeBack()
    expect(consumer.clock).toBeUndefined()
    const next = await openInline({ maxConsumers: 1 })
    const second = await publish(next.consumer('cluster'), log, { resume: publisher.save() })
    await second.close()
    expect(told(log).join()).toMatch(/epoch fresh/)
  })

  const OPENED = range(1, 4096)
  it.each<[string, number[], number[] | undefined, boolean, number[] | undefined]>([
    ['its own and those of before', [1], [1, 2], false, [1, 2]],
    ['its own, behind the message that may be in the log', [1], [2], true, [1, 2]],
    ['none, if it has none', [1], undefined, false, undefined],
    ['none, if they are more than 4,096', OPENED, [0], false, undefined],
  ])('declares, when it is resumed, %s', async (_, before, now, isInFlight, expected) => {
    const tag = isInFlight ? undefined : (): never => raise(new Error('no connection'))
    const { tracker, consumer, log, publisher, mark } = await open({ namespaces: before, tag })
    publisher.on('error', () => undefined)
    log.goAway()
    mark(1)
    await tracker.stop()
    await rejected(publisher.close({ timeoutMs: 50 }))
    const { clock } = consumer
    const next = await openInline({ maxConsumers: 1, resume: tracker.save() })
    const resumed = next.consumer('cluster', { since: clock })
    log.comeBack()
    await publish(resumed, log, { resume: publisher.save(), namespaces: now })
    const declared = log.entries
      .map(({ bytes }) => openEnvelope(bytes)!)
      .filter(({ kind }) => kind === KIND.NAMESPACES)
      .map(({ body }) => decodeNamespacesBody(body))
    expect(declared).toEqual([expected])
    expect(told(log)[1]).toMatch(isInFlight ? /^1 epoch/ : /^1 namespaces/)
  })

  it('begins anew from what a clean close has saved', async () => {
    const { tracker, log, publisher } = await open()
    await publisher.close()
    const consumer = tracker.consumer('next', { from: 'now' })
    const second = await publish(consumer, log, { resume: publisher.save() })
    expect(second.instance).not.toBe(publisher.instance)
  })
})

describe('a publisher', () => {
  it('says every beatMs that it lives, with a number', async () => {
    const { log, publisher } = await open({ beatMs: 5 })
    await until(() => log.length >= 3)
    await publisher.close()
    expect(told(log).slice(0, 3)).toEqual(['0 open', '1 beat', '2 beat'])
  })

  it('answers requests for a cut, each once, with keys or without', async () => {
    const { log, publisher, mark } = await open({ everyMs: 60_000 })
    mark(1)
    for (const id of ['r1', 'r1', 'r2']) log.requestCut(id)
    await until(() => log.length >= 2)
    await publisher.appended()
    log.requestCut('r1')
    log.requestCut('r3')
    await until(() => log.length >= 3)
    await publisher.close()
    expect(told(log)).toEqual(['0 open', '1 epoch 1', '2 beat', '3 close'])
    const answers = log.entries
      .map(({ bytes }) => openEnvelope(bytes)!)
      .filter(({ kind }) => kind === KIND.EPOCH)
      .map(({ body }) => decodeEpochBody(body).requests)
    expect(answers).toEqual([['r1', 'r2']])
  })

  it('appends a large epoch in parts, of which the last one says so', async () => {
    const tracker = await openInline({ maxConsumers: 1, maxKeysPerEpoch: 1 << 16 })
    const log = new FaultLog({ seed: 1, maxMessageBytes: 1 << 16 })
    const publisher = await publish(tracker.consumer('cluster'), log, { everyMs: 60_000 })
    const { events, listen } = silent()
    listen(publisher)
    const writer = tracker.openWriter()
    const keys = range(0, 12_000).map((i) => (i * 2 ** 38 + 7) % 2 ** 53)
    for (let i = 0; i < keys.length; i += 500) writer.markMany(keys.slice(i, i + 500))
    await publisher.close()
    const parts = log.entries
      .map(({ bytes }) => openEnvelope(bytes)!)
      .filter(({ kind }) => kind === KIND.EPOCH)
    expect(parts.length).toBeGreaterThan(1)
    expect(parts.map(({ flags }) => flags & ENVELOPE_LAST_PART)).toEqual(
      parts.map((_, i) => (i === parts.length - 1 ? ENVELOPE_LAST_PART : 0)),
    )
    const epoch = decodeEpoch(parts.map(({ body }) => decodeEpochBody(body).keys))
    expect(epoch.size).toBe(new Set(keys).size)
    // Here lib/ is not built, so the thread's script is not there.
    expect(events).toEqual([
      expect.stringMatching(
        /^the thread that encodes large epochs does not run \(.*encode-worker.*\), so they are encoded on the publisher's thread$/,
      ),
    ])
  })

  it('ends when the engine refuses parts of less than 8,192 bytes', async () => {
    const tracker = await openInline({ maxConsumers: 1 })
    // 65,536 bytes for keys, beside what stands around them.
    const sink = refusing(new FaultLog({ seed: 1, maxMessageBytes: 69_874 }).sink(), 'TOO_LARGE')
    const publisher = await publishEpochs(tracker.consumer('cluster'), { sink, everyMs: 60_000 })
    const { events, listen } = silent()
    listen(publisher)
    tracker.openWriter().mark(1)
    expect((await rejected(publisher.close())).code).toBe('ERR_DIRTYRING_TOO_LARGE')
    await turns(1)
    const large = 'the engine refuses large messages; from here on they have'
    expect(events).toEqual([
      `${large} 32768 bytes`,
      `${large} 16384 bytes`,
      `${large} 8192 bytes`,
      `${large} 4096 bytes`,
      'error no',
    ])
  })

  it('does not begin if the engine refuses its first message as too large', async () => {
    const tracker = await openInline({ maxConsumers: 1 })
    const sink = refusing(new FaultLog({ seed: 1 }).sink(), 'TOO_LARGE', KIND.OPEN)
    const warn = jest.spyOn(watching, 'warn').mockImplementation(() => undefined)
    const begun = publishEpochs(tracker.consumer('cluster'), { sink, everyMs: 60_000 })
    expect((await rejected(begun)).code).toBe('ERR_DIRTYRING_TOO_LARGE')
    expect(warn).not.toHaveBeenCalled() // the caller knows
  })

  it('has 900,000 bytes in a message at most, whatever the engine takes', async () => {
    const tracker = await openInline({ maxConsumers: 1 })
    const inner = new FaultLog({ seed: 1, maxMessageBytes: 2 ** 30 }).sink()
    const sink = refusing(inner, 'TOO_LARGE', KIND.EPOCH, 1)
    const publisher = await publishEpochs(tracker.consumer('cluster'), { sink, everyMs: 60_000 })
    const { events, listen } = silent()
    listen(publisher)
    tracker.openWriter().mark(1)
    await publisher.close()
    expect(events.join()).toMatch(/from here on they have 450000 bytes$/)
  })

  it.each([false, true])('keeps what it cuts again, after stop(): %s', async (isStopped) => {
    const tracker = await openInline({ maxConsumers: 1 })
    const log = new FaultLog({ seed: 1 })
    const sink = refusing(log.sink(), 'TOO_LARGE', KIND.EPOCH, 1)
    const publisher = await publish(tracker.consumer('cluster'), log, { sink, everyMs: 60_000 })
    const writer = tracker.openWriter()
    writer.mark(1)
    if (isStopped) await tracker.stop()
    else log.requestCut('r1')
    await until(() => log.length >= 2)
    await publisher.close()
    expect(told(log)).toEqual(['0 open', '1 epoch 1', '2 close'])
    const { body } = openEnvelope(log.entries[1].bytes)!
    expect(decodeEpochBody(body).requests).toEqual(isStopped ? [] : ['r1'])
  })

  it('appends the last epoch and CLOSE if stop() ends a cut that waits', async () => {
    const { tracker, epoch, log, publisher } = await openBesideReader({ everyMs: 60_000 })
    const cut = jest.spyOn(Advances.prototype, 'request')
    log.requestCut('r1')
    await until(() => cut.mock.calls.length > 0)
    const stopped = tracker.stop()
    await turns(2)
    epoch.commit()
    await stopped
    await until(() => log.length >= 3)
    await publisher.close()
    // The publisher has not seen key 1.
    expect(told(log)).toEqual(['0 open', '1 epoch fresh', '2 close'])
  })

  it('is everything at the end if another reader of the consumer still has keys', async () => {
    const { tracker, epoch, log, publisher } = await openBesideReader()
    await tracker.stop()
    await until(() => log.length >= 3)
    epoch.commit()
    await publisher.close()
    expect(told(log)).toEqual(['0 open', '1 epoch fresh', '2 close'])
  })

  it('has the keys that another reader of the consumer gives back', async () => {
    const { epoch, log, publisher } = await openBesideReader()
    await epoch.restore()
    await publisher.appended()
    await publisher.close()
    expect(told(log)).toEqual(['0 open', '1 epoch 1 2', '2 close'])
  })

  it('keeps the keys if a cut fails, and cuts again', async () => {
    const { log, publisher, mark } = await open({ everyMs: 1 })
    const { events, listen } = silent()
    listen(publisher)
    jest
      .spyOn(Advances.prototype, 'request')
      .mockImplementationOnce(({ reject }) => reject(new Error('no slot')))
    mark(1)
    await until(() => log.length >= 2)
    await publisher.close()
    expect(told(log)).toEqual(['0 open', '1 epoch 1', '2 close'])
    expect(events).toEqual(['the keys are kept, and tried again: no slot'])
  })

  it('appends the last messages at stop(), without close()', async () => {
    const { tracker, log, mark } = await open({ everyMs: 60_000 })
    mark(1)
    await tracker.stop()
    await until(() => /close$/.test(told(log).at(-1)!))
    expect(told(log)).toEqual(['0 open', '1 epoch 1', '2 close'])
  })

  it('does nothing while there is nothing to do, and sleeps', async () => {
    const next = jest.spyOn(Publication.prototype, 'next')
    const { publisher, tracker } = await open({ everyMs: 60_000 })
    await until(() => stepOf(next.mock.results.at(-1)) === 'wait')
    const calls = next.mock.calls.length
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(next.mock.calls.length).toBe(calls)
    await publisher.close()
    await tracker.stop()
  })

  it('makes no cut, and asks no writer, if no key was marked and no caller waits', async () => {
    const flush = jest.spyOn(Flushes.prototype, 'request')
    const next = jest.spyOn(Publication.prototype, 'next')
    const { tracker, log, mark } = await open({ everyMs: 1 })
    const { epoch } = tracker.stats()
    const cuts = (): number => next.mock.results.filter((each) => stepOf(each) === 'cut').length
    await until(() => cuts() >= 3)
    expect(tracker.stats().epoch).toBe(epoch)
    mark(1)
    await until(() => log.length >= 2)
    expect(told(log)).toEqual(['0 open', '1 epoch 1'])
    expect(flush).not.toHaveBeenCalled()
  })

  it('waits 250 ms for writers at most, when a caller asks for a cut', async () => {
    const { publisher, log, mark } = await open({ everyMs: 60_000 })
    const request = jest.spyOn(Flushes.prototype, 'request').mockResolvedValueOnce()
    await publisher.appended()
    const [first] = request.mock.calls[0]
    request.mockImplementation(
      (signal) =>
        new Promise((_, reject) => signal!.addEventListener('abort', () => reject(new Error('x')))),
    )
    mark(1)
    await publisher.appended()
    expect(told(log)).toEqual(['0 open', '1 epoch 1'])
    expect(first!.aborted).toBe(false) // its wait was over
  })

  it('keeps the process alive only while a call is pending', async () => {
    const tracker = await openInline({ maxConsumers: 1 })
    const writer = tracker.openWriter()
    const unref = jest.spyOn(Object.getPrototypeOf(setTimeout(() => undefined, 0)), 'unref')
    const next = jest.spyOn(Publication.prototype, 'next')
    const log = new FaultLog({ seed: 1 })
    const publisher = await publish(tracker.consumer('cluster'), log, { everyMs: 60_000 })
    await until(() => stepOf(next.mock.results.at(-1)) === 'wait')
    await turns(1)
    expect(unref).toHaveBeenCalled()
    log.goAway()
    writer.mark(1)
    writer.flush()
    const appended = publisher.appended()
    await turns(1)
    unref.mockClear()
    const from = next.mock.calls.length
    await until(() => next.mock.calls.length >= from + 3)
    expect(unref).not.toHaveBeenCalled()
    log.comeBack()
    await appended
  })

  it('cuts again into smaller parts when the engine takes less than it said', async () => {
    const tracker = await openInline({ maxConsumers: 1 })
    const log = new FaultLog({ seed: 1, maxMessageBytes: 1 << 15 })
    const sink: EpochSink = { ...log.sink(), maxMessageBytes: 1 << 20 }
    const publisher = await publish(tracker.consumer('cluster'), log, { sink, everyMs: 60_000 })
    const writer = tracker.openWriter()
    const texts = range(0, 900).map((i) =>
      `${'x'.repeat(i % 7)}${(i * 7919).toString(36)}`.repeat(9),
    )
    for (const text of texts) writer.mark(text)
    await publisher.close()
    expect(told(log).at(-1)).toMatch(/close$/)
    const parts = log.entries.map(({ bytes }) => openEnvelope(bytes)!)
    const bodies = parts.filter(({ kind }) => kind === KIND.EPOCH).map(({ body }) => body)
    const epoch = decodeEpoch(bodies.map((body) => decodeEpochBody(body).keys))
    expect(new Set(epoch.listed())).toEqual(new Set(texts))
  })

  it('appends the last epoch although the one before stop() is cut again', async () => {
    const tracker = await openInline({ maxConsumers: 1 })
    const log = new FaultLog({ seed: 1 })
    const inner = log.sink()
    let refuse: (() => void) | undefined
    const sink: EpochSink = {
      ...inner,
      append: async (message) => {
        if (openEnvelope(message.bytes)!.kind !== KIND.EPOCH || refuse !== undefined)
          return inner.append(message)
        await new Promise<void>((resolve) => (refuse = resolve))
        throw new DirtyRingError('ERR_DIRTYRING_TOO_LARGE', 'too large')
      },
    }
    const publisher = await publish(tracker.consumer('cluster'), log, { sink })
    const writer = tracker.openWriter()
    writer.mark(1)
    writer.flush()
    await until(() => refuse !== undefined)
    writer.mark(2)
    writer.flush()
    const stopped = tracker.stop()
    for (const id of ['r1', 'r2']) log.requestCut(id)
    refuse!()
    await stopped
    await publisher.close()
    expect(told(log)).toEqual(['0 open', '1 epoch 1', '2 epoch 2', '3 close'])
    const [first] = log.entries.slice(1).map(({ bytes }) => openEnvelope(bytes)!.body)
    expect(decodeEpochBody(first).requests).toEqual([])
  })

  it('puts a tag beside the keys, taken after the cut', async () => {
    let position = 0
    const { log, publisher, mark } = await open({ everyMs: 60_000, tag: () => `lsn ${position}` })
    mark(1)
    position = 7
    await publisher.close()
    const { body } = openEnvelope(log.entries[1].bytes)!
    expect(Buffer.from(decodeEpochBody(body).tag).toString()).toBe('lsn 7')
  })

  it.each([
    ['throws', () => raise(new Error('no connection')), /no connection/],
    [
      'returns 65 bytes',
      () => new Uint8Array(65),
      /tried again: "options.tag\(\)" must be at most 64 bytes, got 65/,
    ],
    [
      'returns a number',
      () => 7 as never,
      /tried again: "options.tag\(\)" must be a Uint8Array or a string, got 7/,
    ],
    ['returns detached bytes', detached, /tried again: "options.tag\(\)"/],
  ])('keeps the keys while the tag function %s', async (_, bad, message) => {
    let calls = 0
    let tag: () => Uint8Array | string = bad
    const { log, publisher, mark } = await open({ everyMs: 1, tag: () => (calls++, tag()) })
    const { events, listen } = silent()
    listen(publisher)
    mark(1)
    await until(() => calls >= 2)
    expect(events).toEqual([expect.stringMatching(message)])
    expect(told(log)).toEqual(['0 open'])
    tag = () => 'ok'
    await publisher.close()
    expect(told(log)).toEqual(['0 open', '1 epoch 1', '2 close'])
    expect(events.length).toBe(1)
  })

  it('sends the tag as it was when the function returned it, up to 64 bytes', async () => {
    const bytes = new Uint8Array(64)
    const tag = (): Uint8Array => {
      queueMicrotask(() => bytes.fill(9))
      return bytes
    }
    const { log, publisher, mark } = await open({ everyMs: 60_000, tag })
    mark(1)
    await publisher.close()
    expect(decodeEpochBody(openEnvelope(log.entries[1].bytes)!.body).tag).toEqual(
      new Uint8Array(64),
    )
  })

  it('rejects close() with the error of the tag function, and is not closed cleanly', async () => {
    const { log, publisher, mark, consumer } = await open({
      everyMs: 60_000,
      tag: () => raise(new Error('no connection')),
    })
    publisher.on('error', () => undefined)
    mark(1)
    expect((await rejected(publisher.close())).message).toBe('no connection')
    expect(told(log)).toEqual(['0 open'])
    expect(await consumer.consume((epoch) => [...epoch])).toEqual([1])
  })

  it('declares namespaces, and more of them before they are marked', async () => {
    const { log, publisher } = await open({ namespaces: [1] })
    await publisher.addNamespaces([2, 3])
    expect(told(log)).toEqual(['0 open', '1 namespaces'])
    await publisher.close()
    expect(await rejected(publisher.addNamespaces([4]))).toMatchObject({
      code: 'ERR_DIRTYRING_CLOSED',
    })
  })

  it('refuses namespaces beyond 4,096 with those declared before, all of them', async () => {
    const { log, publisher } = await open({ namespaces: [1] })
    const error = await rejected(publisher.addNamespaces(range(2, 4096)))
    expectError(error, OUT_OF_RANGE, 'at most 4096 with those declared before')
    expect(error.message).toContain('4097')
    expect(told(log)).toEqual(['0 open'])
    await publisher.addNamespaces(range(1, 4096))
    expect(told(log)).toEqual(['0 open', '1 namespaces'])
  })

  it('asks writers for what they have staged before its last cut', async () => {
    const { log, publisher } = await open({ everyMs: 60_000 })
    const request = jest.spyOn(Flushes.prototype, 'request')
    await publisher.close()
    expect(request).toHaveBeenCalledTimes(1)
    expect(told(log)).toEqual(['0 open', '1 close'])
  })

  it('has nothing to declare if it declared nothing', async () => {
    const { log, publisher } = await open()
    await publisher.addNamespaces([2])
    expect(told(log)).toEqual(['0 open'])
  })

  it('keeps texts at home with text: "fingerprint"', async () => {
    const { log, publisher, mark } = await open({ everyMs: 60_000, text: 'fingerprint' })
    mark('secret@example.org')
    await publisher.close()
    const { bytes } = log.entries[1]
    expect(Buffer.from(bytes).toString('latin1')).not.toContain('secret')
    const epoch = decodeEpoch(decodeEpochBody(openEnvelope(bytes)!.body).keys)
    expect([epoch.has('secret@example.org'), epoch.has('other')]).toEqual([true, false])
    expect([epoch.exact, epoch.reason]).toEqual([false, 'overflow'])
    expect(() => [...epoch]).toThrow(/is not exact/)
  })

  it('closes once, and refuses calls afterwards', async () => {
    const { log, publisher } = await open()
    const CLOSED = { code: 'ERR_DIRTYRING_CLOSED' }
    await Promise.all([publisher.close(), publisher[Symbol.asyncDispose]()])
    expect(told(log)).toEqual(['0 open', '1 close'])
    expect(await rejected(publisher.appended())).toMatchObject(CLOSED)
    expect(String((publisher as any)[Symbol.for('nodejs.util.inspect.custom')]())).toMatch(
      /^Publisher \{ node: '.*', instance: '[0-9a-f]{32}', state: 'closed' \}$/,
    )
  })

  it('warns when it is disposed of in an outage', async () => {
    const { log, publisher } = await open()
    const warn = jest.spyOn(watching, 'warn').mockImplementation(() => undefined)
    log.goAway()
    publisher.close({ timeoutMs: 1 }).catch(() => undefined)
    await publisher[Symbol.asyncDispose]()
    expect(warn.mock.calls.flat().join()).toMatch(/did not take the last messages/)
  })

  it('ends with an error of the sink that is no outage', async () => {
    const { log, publisher, mark } = await open({ everyMs: 1 })
    const { events, listen } = silent()
    listen(publisher)
    jest.spyOn(log, 'append').mockImplementation(() => raise(new Error('not allowed')))
    mark(1)
    expect((await rejected(publisher.appended())).message).toBe('not allowed')
    await until(() => events.length > 0)
    expect(events).toEqual(['error not allowed'])
  })
})

describe('the end of a publisher', () => {
  it.each([
    ['an error', raiseOf(new Error('no')), 'error no'],
    ['a text', raiseOf('no'), 'error undefined'],
    ['another code', raiseOf(new DirtyRingError('ERR_DIRTYRING_BAD_STATE', 'no')), 'error no'],
    ['no error with the code', raiseOf({ code: 'ERR_DIRTYRING_AWAY', message: 'no' }), 'error no'],
    ['no error, too large', raiseOf({ code: 'ERR_DIRTYRING_TOO_LARGE', message: 'x' }), 'error x'],
    [
      'another answer',
      () => 'done' as never,
      `error "sink.append()" must be 'appended' or 'refused', got "done"`,
    ],
  ])('comes with what the sink says: %s', async (_, append, event) => {
    const { log, publisher, mark } = await open({ everyMs: 60_000 })
    const { events, listen } = silent()
    listen(publisher)
    jest.spyOn(log, 'append').mockImplementation(append)
    mark(1)
    await rejected(publisher.appended())
    await turns(1)
    expect(events).toEqual([event])
  })

  it('comes even without an error, and close() rejects then, too', async () => {
    const { log, publisher, mark } = await open({ everyMs: 60_000 })
    publisher.on('error', () => undefined)
    jest.spyOn(log, 'append').mockImplementation(raiseOf(undefined))
    mark(1)
    expect(await rejected(publisher.appended())).toMatchObject({
      code: 'ERR_DIRTYRING_CLOSED',
      message: `publisher ${publisher.node} was closed before`,
    })
    let outcome = 'none'
    await publisher.close().then(
      () => (outcome = 'resolved'),
      () => (outcome = 'rejected'),
    )
    expect(outcome).toBe('rejected')
  })

  it('comes with what last() rejects with, unless the engine is away', async () => {
    const { log, publisher, mark } = await open({ everyMs: 60_000 })
    const { events, listen } = silent()
    listen(publisher)
    jest.spyOn(log, 'append').mockReturnValue('refused')
    let calls = 0
    jest.spyOn(log, 'last').mockImplementation(() => {
      const away = new DirtyRingError('ERR_DIRTYRING_AWAY', 'away')
      throw ++calls < 3 ? away : new Error('no')
    })
    mark(1)
    expect((await rejected(publisher.appended())).message).toBe('no')
    await turns(1)
    expect(events).toEqual(['away ERR_DIRTYRING_AWAY', 'error no'])
  })

  it('tells once that the engine is away, and for how long', async () => {
    const { log, publisher, mark } = await open({ everyMs: 60_000 })
    const told: unknown[] = []
    publisher.on('away', () => told.push('away'))
    publisher.on('back', ({ awayMs }) => told.push(awayMs))
    const append = jest.spyOn(log, 'append')
    const start = performance.now()
    log.goAway()
    mark(1)
    const appended = publisher.appended()
    await until(() => append.mock.calls.length >= 3)
    log.comeBack()
    await appended
    await until(() => told.length >= 2)
    expect(told).toEqual(['away', expect.any(Number)])
    expect(told[1]).toBeLessThanOrEqual(performance.now() - start)
  })

  const NO_ANSWER = (): never => raise(away())
  it.each<['append' | 'last', string, () => unknown, string[]]>([
    ['append', 'is away', NO_ANSWER, []],
    ['append', 'has it', () => 'appended', ['away ERR_DIRTYRING_AWAY']],
    ['last', 'is away', NO_ANSWER, []],
    ['last', 'has none', () => undefined, ['away ERR_DIRTYRING_AWAY']],
    ['last', 'has failed', raiseOf(new Error('no')), []],
  ])(
    'is silent about an answer of %s() behind it: the engine %s',
    async (call, _, answer, told) => {
      const tracker = await openInline({ maxConsumers: 1 })
      const log = new FaultLog({ seed: 1 })
      const inner = log.sink()
      let reply: (() => void) | undefined
      const later = async (): Promise<never> => {
        await new Promise<void>((resolve) => (reply = resolve))
        return answer() as never
      }
      let isOpen = false
      let failures = told.length
      const sink: EpochSink = {
        ...inner,
        append: async (message) => {
          if (!isOpen) return inner.append(message)
          if (call === 'append') return failures-- > 0 ? NO_ANSWER() : later()
          return 'refused'
        },
        last: () => (failures-- > 0 ? Promise.reject(away()) : later()),
      }
      const publisher = await publish(tracker.consumer('cluster'), log, { sink, everyMs: 60_000 })
      isOpen = true
      const { events, listen } = silent()
      listen(publisher)
      tracker.openWriter().mark(1)
      const appended = rejected(publisher.appended())
      await until(() => reply !== undefined)
      const error = await rejected(publisher.close({ timeoutMs: 0 }))
      expect(await appended).toBe(error)
      reply!()
      await turns(2)
      expect(events).toEqual(told)
      expect(inspected(publisher)).toMatch(/state: 'gave up' }$/)
    },
  )

  it('is silent about keys that cannot be given back behind it', async () => {
    const tracker = await openInline({ maxConsumers: 1 })
    const sink = refusing(new FaultLog({ seed: 1 }).sink(), 'TOO_LARGE')
    const publisher = await publish(tracker.consumer('cluster'), new FaultLog({ seed: 1 }), {
      sink,
    })
    let fail: ((error: Error) => void) | undefined
    jest
      .spyOn(SealedEpoch.prototype, 'restore')
      .mockImplementation(() => new Promise((_, reject) => (fail = reject)))
    const writer = tracker.openWriter()
    writer.mark(1)
    writer.flush()
    await until(() => fail !== undefined)
    await rejected(publisher.close({ timeoutMs: 0 }))
    const { events, listen } = silent()
    listen(publisher)
    fail!(new Error('no'))
    await turns(2)
    expect(events).toEqual([])
    expect(inspected(publisher)).toMatch(/state: 'gave up' }$/)
  })

  it('rejects calls after it, if stop() has brought it', async () => {
    const { tracker, log, publisher } = await open({ node: 'a' })
    await tracker.stop()
    await until(() => /close$/.test(told(log).at(-1)!))
    await turns(2)
    expect((await rejected(publisher.appended())).message).toBe('publisher a is closed')
  })

  it('takes no tag of a last epoch that comes behind it', async () => {
    const tag = jest.fn(() => 'x')
    const { tracker, hand } = await openHeld({ maxConsumers: 1 })
    const log = new FaultLog({ seed: 1 })
    const consumer = tracker.consumer('cluster')
    const publisher = await publish(consumer, log, { everyMs: 60_000, tag, node: 'a' })
    tracker.openWriter().mark(1)
    const stopped = tracker.stop()
    const error = await rejected(publisher.close({ timeoutMs: 20 }))
    expect(error.message).toBe(
      'the engine did not take the last messages of publisher a in 20 ms. Their keys are in the ' +
        'consumer. Call tracker.save() and publisher.save() for the next process; otherwise ' +
        'readers take all keys for dirty',
    )
    hand.run()
    hand.release()
    await stopped
    await turns(2)
    expect(tag).not.toHaveBeenCalled()
    expect(await consumer.consume((epoch) => [...epoch])).toEqual([1])
  })

  it('closes the sink once, and forgets the signal', async () => {
    const { signal } = new AbortController()
    const close = jest.fn(async () => undefined)
    const sink = { ...new FaultLog({ seed: 1 }).sink(), close }
    const { publisher } = await open({ signal, sink })
    expect([getEventListeners(signal, 'abort').length, close.mock.calls.length]).toEqual([1, 0])
    await publisher.close()
    expect([getEventListeners(signal, 'abort').length, close.mock.calls.length]).toEqual([0, 1])
  })

  it('resolves close() with nothing, and saves what the next process needs', async () => {
    const { publisher } = await open()
    expect(thrown(() => publisher.save())).toMatchObject({ code: 'ERR_DIRTYRING_BUSY' })
    await expect(publisher.close()).resolves.toBeUndefined()
    expect(publisher.save()).toBeInstanceOf(Uint8Array)
  })

  it('refuses other calls while close() is pending', async () => {
    const { log, publisher } = await open({ node: 'a', namespaces: [1] })
    log.goAway()
    const closing = rejected(publisher.close({ timeoutMs: 20 }))
    for (const call of [publisher.appended(), publisher.addNamespaces([2])])
      expect(await rejected(call)).toMatchObject({
        code: 'ERR_DIRTYRING_CLOSED',
        message: 'publisher a is closed',
      })
    await closing
  })

  it('rejects calls that are pending', async () => {
    const { log, publisher, mark } = await open({ node: 'a' })
    log.goAway()
    mark(1)
    const appended = rejected(publisher.appended())
    const closing = rejected(publisher.close({ timeoutMs: 0 }))
    expect(await appended).toBe(await closing)
  })

  it('rejects its disposal with another error than an outage', async () => {
    const { consumer, publisher } = await open()
    publisher.on('error', () => undefined)
    consumer.close()
    expect(await rejected(publisher[Symbol.asyncDispose]())).toMatchObject({
      code: 'ERR_DIRTYRING_CLOSED',
    })
  })

  it('tells with a warning what was thrown, if anything was', async () => {
    const no = new Error('no')
    let isBad = true
    const { log, publisher, mark } = await open({
      everyMs: 1,
      tag: () => (isBad ? raise(no) : 'x'),
    })
    const warnings: unknown[] = []
    publisher.on('warning', (warning) => warnings.push(warning))
    mark(1)
    await until(() => warnings.length > 0)
    isBad = false
    await publisher.appended()
    log.makeAnew()
    mark(2)
    await publisher.appended()
    expect(warnings).toStrictEqual([
      { message: 'the keys are kept, and tried again: no', error: no },
      {
        message:
          'the log has lost messages of this publisher; readers without them take all keys for dirty',
      },
    ])
  })

  it('checks the arguments of its methods', async () => {
    const { publisher } = await open({ namespaces: [1] })
    expectError(await rejected(publisher.close(7 as never)), INVALID_ARG, '"options" must be')
    const badTime = await rejected(publisher.close({ timeoutMs: -1 }))
    expectError(badTime, OUT_OF_RANGE, '"options.timeoutMs" must be a whole number from 0')
    const noList = await rejected(publisher.addNamespaces(7 as never))
    expectError(noList, INVALID_ARG, '"namespaces" must be an array')
    const tooMany = await rejected(publisher.addNamespaces(range(2, 4096)))
    expectError(tooMany, OUT_OF_RANGE, '"namespaces" must be at most 4096 with those declared')
  })
})

describe('the arguments of publishEpochs()', () => {
  const sink = new FaultLog({ seed: 1 }).sink()
  const good = { sink, everyMs: 5 }
  it.each([
    [{ everyMs: 5 }, INVALID_ARG, '"options.sink" must be a sink'],
    [{ ...good, sink: null }, INVALID_ARG, '"options.sink" must be a sink'],
    [{ ...good, sink: {} }, INVALID_ARG, '"options.sink.append" must be a function'],
    [{ ...good, sink: { ...sink, maxMessageBytes: 9 } }, OUT_OF_RANGE, 'maxMessageBytes'],
    [{ sink }, INVALID_ARG, '"options.everyMs" must be a number'],
    [{ ...good, everyMs: 0 }, OUT_OF_RANGE, 'from 1 to'],
    [{ ...good, beatMs: 0.5 }, OUT_OF_RANGE, '"options.beatMs"'],
    [{ ...good, node: 'a b' }, OUT_OF_RANGE, "name.replace(/[^A-Za-z0-9_-]/g, '-')"],
    [
      { ...good, node: '' },
      OUT_OF_RANGE,
      '"options.node" must be 1 to 64 letters, digits, - and _',
    ],
    [{ ...good, node: 7 }, INVALID_ARG, '"options.node"'],
    [
      { ...good, namespaces: 7 },
      INVALID_ARG,
      '"options.namespaces" must be an array of at most 4096',
    ],
    [{ ...good, namespaces: [-1] }, OUT_OF_RANGE, '"options.namespaces[0]"'],
    [{ ...good, namespaces: { length: 1 } }, INVALID_ARG, '"options.namespaces"'],
    [{ ...good, namespaces: range(0, 4097) }, OUT_OF_RANGE, 'at most 4096 namespaces, got 4097'],
    [{ ...good, tag: 'x' }, INVALID_ARG, '"options.tag" must be a function'],
    [{ ...good, text: 'hash' }, OUT_OF_RANGE, `"options.text" must be 'exact' or 'fingerprint'`],
    [{ ...good, resume: 'x' }, INVALID_ARG, '"options.resume" must be a Uint8Array, or undefined'],
    [{ ...good, resume: 'x' }, INVALID_ARG, 'Pass what publisher.save() returned'],
    [{ ...good, resume: detached() }, INVALID_ARG, '"options.resume"'],
    [{ ...good, signal: {} }, INVALID_ARG, '"options.signal" must be an AbortSignal, got'],
    [{ ...good, everyMS: 5 }, INVALID_ARG, 'Did you mean "everyMs"'],
    ['no bag', INVALID_ARG, '"options" must be'],
  ])('are checked: %#', async (options, kind, part) => {
    const tracker = await openInline({ maxConsumers: 1 })
    const consumer = tracker.consumer('cluster')
    expectError(await rejected(publishEpochs(consumer, options as never)), kind, part)
  })

  it('include a consumer of this library', async () => {
    for (const bad of [undefined, null, {}, 'cluster'])
      expectError(
        await rejected(publishEpochs(bad as never, good)),
        INVALID_ARG,
        '"consumer" must be an open Consumer, got',
        'It comes from the same copy of this package: tracker.consumer("cluster").',
      )
    expect(() => new (Publisher as any)()).toThrow(/Publisher.*Call await publishEpochs/)
  })

  it('include what save() returned, undamaged', async () => {
    const { publisher, tracker } = await open()
    await publisher.close()
    const saved = publisher.save()
    const consumer = tracker.consumer('next')
    const damaged = saved.slice()
    damaged[saved.length - 1] ^= 1
    const newer = saved.slice()
    newer[4] = 9
    for (const resume of [damaged, newer, saved.subarray(0, 5), new Uint8Array(0)])
      expect(await rejected(publishEpochs(consumer, { ...good, resume }))).toMatchObject({
        code: 'ERR_DIRTYRING_BAD_STATE',
      })
  })
})

/** A sink that refuses messages of a kind with an error, so often. */
function refusing(
  inner: EpochSink,
  code: string,
  kind: number = KIND.EPOCH,
  times = Infinity,
): EpochSink {
  return {
    ...inner,
    append: async (message) => {
      if (openEnvelope(message.bytes)!.kind !== kind || times-- <= 0) return inner.append(message)
      throw new DirtyRingError(`ERR_DIRTYRING_${code}` as never, 'no')
    },
  }
}

/** Bytes whose memory has gone to another thread. */
function detached(): Uint8Array {
  const bytes = new Uint8Array(9)
  structuredClone(bytes, { transfer: [bytes.buffer] })
  return bytes
}

const inspected = (publisher: Publisher): string =>
  (publisher as any)[Symbol.for('nodejs.util.inspect.custom')]()

const away = (): Error => new DirtyRingError('ERR_DIRTYRING_AWAY', 'away')

function raiseOf(error: unknown): () => never {
  return () => raise(error)
}

function raise(error: unknown): never {
  throw error
}
