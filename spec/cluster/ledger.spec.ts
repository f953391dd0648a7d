import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { ByteReader, ByteWriter } from '../../lib/cluster/bytes.js'
import {
  declarationFlags,
  type Envelope,
  ENVELOPE_LAST_PART,
  KIND,
} from '../../lib/cluster/envelope.js'
import { Ledger, NAMELESS, type News } from '../../lib/cluster/ledger.js'

const GONE_MS = 300_000
const NONE = new Uint8Array(0)

const instanceOf = (index: number): string => index.toString(16).padStart(32, '0')

/** A message of instance `index`. Its checksum follows from its number unless `crc` says so. */
function message(index: number, n: number, more: Partial<Envelope> = {}): Envelope {
  return {
    kind: n === 0 ? KIND.OPEN : KIND.EPOCH,
    format: 1,
    flags: ENVELOPE_LAST_PART,
    node: `node-${index}`,
    instance: instanceOf(index),
    n,
    atMs: 1000 * (n + 1),
    body: NONE,
    crc: 1000 * index + n,
    ...more,
  }
}

function newLedger(jitterMs = () => 0): Ledger {
  return new Ledger({ goneMs: GONE_MS, jitterMs })
}

/** Listens, and returns who is gone. */
function listen(
  ledger: Ledger,
  ms: number,
  wallMs = 0,
  engine?: ReadonlyMap<string, 'live' | 'gone'>,
): unknown[] {
  ledger.listen(ms)
  return ledger.bury(0, wallMs, engine)
}

/** Passes messages in, as one read. Returns the verdicts. */
function pass(ledger: Ledger, messages: readonly Envelope[], nowMs = 0): string[] {
  const verdicts = messages.map((each) => {
    ledger.begin()
    return ledger.receive(each, nowMs)
  })
  ledger.end(`after ${messages.length}`)
  return verdicts
}

function restart(ledger: Ledger): Ledger {
  const bytes = new ByteWriter()
  ledger.write(bytes)
  const reader = new ByteReader(bytes.bytes)
  const read = Ledger.read(reader, { goneMs: GONE_MS, jitterMs: () => 0 })
  expect(reader.isAtEnd).toBe(true)
  return read
}

const lossOf = (news: readonly News[]): unknown[] =>
  news.filter(({ lost }) => lost !== undefined).map(({ reason, lost }) => [reason, lost])

describe('the ledger of a cluster reader', () => {
  it('takes an instance from its OPEN on, each message once', () => {
    const ledger = newLedger()
    const messages = [0, 1, 2, 2, 1, 0, 3].map((n) => message(1, n))
    expect(pass(ledger, messages)).toEqual(['next', 'next', 'next', 'seen', 'seen', 'seen', 'next'])
    expect(ledger.handOut(0, true)).toMatchObject([{ node: 'node-1', reason: undefined, to: 4000 }])
  })

  it('calls a hole in the numbers a gap of everything, once', () => {
    const ledger = newLedger()
    expect(
      pass(
        ledger,
        [0, 1, 3, 4].map((n) => message(1, n)),
      ),
    ).toEqual(['next', 'next', 'gap', 'next'])
    const [news] = ledger.handOut(0, false)
    expect(news).toMatchObject({ reason: 'gap', lost: 'everything', from: 1000, to: 5000 })
    expect(ledger.handOut(0, true)).toMatchObject([{ reason: undefined, lost: undefined }])
  })

  it('calls an instance that it first meets after its OPEN a gap', () => {
    const ledger = newLedger()
    expect(pass(ledger, [message(1, 7), message(1, 8)])).toEqual(['gap', 'next'])
    expect(pass(ledger, [message(2, 0, { kind: KIND.EPOCH })])).toEqual(['gap'])
  })

  it('calls one number with two contents a gap, because an instance has a twin', () => {
    const ledger = newLedger()
    pass(
      ledger,
      [0, 1, 2].map((n) => message(1, n)),
    )
    expect(pass(ledger, [message(1, 2, { crc: 99 })])).toEqual(['gap'])
    expect(lossOf(ledger.handOut(0, true))).toEqual([['gap', 'everything']])
  })

  it('calls a number that is too old to be compared a gap', () => {
    const ledger = newLedger()
    pass(
      ledger,
      Array.from({ length: 18 }, (_, n) => message(1, n)),
    )
    expect(pass(ledger, [message(1, 2), message(1, 1)])).toEqual(['seen', 'gap'])
  })

  it('lets an instance that closed be silent for ever', () => {
    const ledger = newLedger()
    pass(ledger, [message(1, 0), message(1, 1, { kind: KIND.CLOSE })])
    expect(listen(ledger, 10 * GONE_MS)).toEqual([])
    expect(lossOf(ledger.handOut(0, true))).toEqual([])
    expect(ledger.living()).toEqual([])
  })

  it('tells once that a silent instance without CLOSE is gone', () => {
    const ledger = newLedger()
    pass(ledger, [message(1, 0)])
    expect(listen(ledger, GONE_MS - 1)).toEqual([])
    expect(listen(ledger, 1, 9e9)).toMatchObject([{ node: 'node-1', silentMs: GONE_MS }])
    const [news] = ledger.handOut(0, false)
    expect(news).toMatchObject({ reason: 'gone', lost: 'everything', from: 1000, to: 9e9 })
    expect(listen(ledger, GONE_MS)).toEqual([])
    expect(ledger.handOut(0, true)).toEqual([])
  })

  it('calls the first message of an instance that was gone a gap', () => {
    const ledger = newLedger()
    pass(ledger, [message(1, 0)])
    listen(ledger, GONE_MS)
    ledger.handOut(0, true)
    expect(pass(ledger, [message(1, 0), message(1, 1), message(1, 2)])).toEqual([
      'seen',
      'gap',
      'next',
    ])
    listen(ledger, 3 * GONE_MS)
    ledger.handOut(0, true)
    listen(ledger, GONE_MS) // forgotten
    expect(pass(ledger, [message(1, 3)])).toEqual(['gap'])
  })

  it('goes by what the engine says of an instance', () => {
    const ledger = newLedger()
    pass(ledger, [message(1, 0), message(2, 0)])
    const engine = new Map([
      [instanceOf(1), 'live' as const],
      [instanceOf(2), 'gone' as const],
    ])
    expect(listen(ledger, 2 * GONE_MS, 0, engine)).toMatchObject([{ instance: instanceOf(2) }])
    expect(ledger.isLive(instanceOf(1))).toBe(true)
  })

  it('loses only the declared namespaces of an instance that is gone', () => {
    const ledger = newLedger()
    pass(ledger, [message(1, 0)])
    ledger.declare(instanceOf(1), [7])
    pass(ledger, [message(1, 1, { kind: KIND.NAMESPACES })])
    ledger.declare(instanceOf(1), [9])
    listen(ledger, GONE_MS)
    expect(lossOf(ledger.handOut(0, true))).toEqual([['gone', [7, 9]]])
  })

  it('loses only the declared namespaces in a gap without declarations, else everything', () => {
    for (const [flags, lost] of [
      [declarationFlags(0), [7]],
      [declarationFlags(1), 'everything'],
      [ENVELOPE_LAST_PART, 'everything'],
      [declarationFlags(63), 'everything'],
    ] as const) {
      const ledger = newLedger()
      pass(ledger, [message(1, 0)])
      ledger.declare(instanceOf(1), [7])
      pass(ledger, [message(1, 5, { flags })])
      expect(lossOf(ledger.handOut(0, true))).toEqual([['gap', lost]])
    }
  })

  it('names an unreadable instance once a minute, and whenever an epoch is a cut', () => {
    const ledger = newLedger()
    pass(ledger, [message(1, 0)])
    const unreadable = (n: number, nowMs: number): void => {
      pass(ledger, [message(1, n)], nowMs)
      ledger.unreadable(message(1, n), nowMs)
    }
    unreadable(1, 0)
    expect(lossOf(ledger.handOut(0, false))).toHaveLength(1)
    unreadable(2, 100)
    unreadable(3, 200)
    expect(ledger.dueMs).toBe(60_000)
    expect(lossOf(ledger.handOut(59_999, false))).toEqual([])
    expect(lossOf(restart(ledger).handOut(0, false))).toHaveLength(1)
    expect(lossOf(ledger.handOut(60_000, false))).toHaveLength(1)
    unreadable(4, 60_100)
    expect(lossOf(ledger.handOut(60_100, false))).toEqual([])
    expect(lossOf(ledger.handOut(60_100, true))).toHaveLength(1)
  })

  it('needs no more than the numbers for a damaged message of a sender that the engine knows', () => {
    const ledger = newLedger()
    ledger.begin()
    ledger.damaged('node-1', instanceOf(1), 0)
    ledger.end('1')
    expect(pass(ledger, [message(1, 1)])).toEqual(['gap'])
    const other = newLedger()
    other.damaged('node-2', instanceOf(2), 0)
    expect(listen(other, GONE_MS)).toHaveLength(1)
  })

  it('takes a damaged message without a known sender for everything, once a minute', () => {
    const ledger = newLedger()
    ledger.begin()
    ledger.damaged(undefined, undefined, 0)
    expect(ledger.handOut(0, false)).toMatchObject([{ node: NAMELESS, lost: 'everything' }])
    ledger.begin()
    ledger.damaged(undefined, undefined, 1)
    expect(ledger.handOut(1, false)).toEqual([])
    expect(lossOf(restart(ledger).handOut(0, false))).toHaveLength(1)
    expect(ledger.handOut(60_001, false)).toHaveLength(1)
  })

  it('keeps a loss back for as long as its lot says, but not from a cut', () => {
    const ledger = newLedger(() => 500)
    pass(ledger, [message(1, 0), message(1, 2)], 100)
    expect(lossOf(ledger.handOut(599, false))).toEqual([])
    expect(ledger.dueMs).toBe(600)
    expect(lossOf(ledger.handOut(600, false))).toHaveLength(1)
    pass(ledger, [message(1, 4)], 700)
    expect(lossOf(ledger.handOut(700, true))).toHaveLength(1)
  })

  it('says of a loss since when, by the clock of the node', () => {
    const ledger = newLedger()
    pass(ledger, [message(1, 0), message(1, 1), message(1, 2, { flags: 0 })])
    ledger.handOut(0, true)
    pass(ledger, [message(1, 5, { atMs: 9000 })])
    expect(ledger.handOut(0, true)).toMatchObject([{ from: 2000, to: 9000, reason: 'gap' }])
  })

  it('takes no beat for a sign that no key waits, unless it answers a cut', () => {
    const ledger = newLedger()
    const beat = message(1, 2, { kind: KIND.BEAT })
    pass(ledger, [message(1, 0), message(1, 1), beat])
    expect(ledger.handOut(0, true)).toMatchObject([{ to: 2000 }])
    ledger.hasNoKeys(beat)
    expect(ledger.handOut(0, true)).toMatchObject([{ from: 2000, to: 3000 }])
  })

  it('dates an epoch of several parts by its first one, because they were cut then', () => {
    const ledger = newLedger()
    pass(ledger, [message(1, 0), message(1, 1, { flags: 0, atMs: 2000 })])
    pass(ledger, [message(1, 2, { flags: 0, atMs: 50_000 }), message(1, 3, { atMs: 90_000 })])
    expect(ledger.handOut(0, true)).toMatchObject([{ from: 1000, to: 2000 }])
    pass(ledger, [message(1, 5, { atMs: 99_000 })])
    expect(ledger.handOut(0, true)).toMatchObject([{ from: 2000, to: 99_000, reason: 'gap' }])
  })

  it('names an instance missing in one epoch only, and takes its next message as the next', () => {
    const ledger = newLedger()
    pass(ledger, [message(1, 0)])
    const missing = new Set([instanceOf(1)])
    expect(ledger.handOut(0, true, missing, 5000)).toMatchObject([
      { reason: 'missing', lost: 'everything', from: 1000, to: 5000 },
    ])
    expect(pass(ledger, [message(1, 1)])).toEqual(['next'])
    expect(ledger.handOut(0, true)).toMatchObject([{ reason: undefined, lost: undefined }])
  })

  it('has news that were given back in the next epoch, with the newer tag', () => {
    const ledger = newLedger()
    pass(ledger, [message(1, 0), message(1, 2)])
    ledger.note(instanceOf(1), 'overflow', Uint8Array.of(1))
    const news = ledger.handOut(0, false)
    expect(news).toMatchObject([{ reason: 'gap', tag: Uint8Array.of(1), from: 1000 }])
    ledger.giveBack(news)
    expect(ledger.dueMs).toBe(-Infinity)
    pass(ledger, [message(1, 3)])
    ledger.note(instanceOf(1), 'everything', undefined)
    expect(ledger.handOut(0, false)).toMatchObject([
      { reason: 'gap', tag: Uint8Array.of(1), lost: 'everything', from: 1000, to: 4000 },
    ])
    expect(ledger.handOut(0, false)).toMatchObject([{ lost: undefined, tag: undefined }])
  })

  it('has a place before the first part of each unfinished epoch', () => {
    const ledger = newLedger()
    pass(ledger, [message(1, 0), message(2, 0)])
    ledger.end('A')
    pass(ledger, [message(2, 1), message(1, 1, { flags: 0 })])
    ledger.end('B')
    pass(ledger, [message(2, 2)])
    ledger.end('C')
    expect(ledger.place).toMatchObject({ position: 'A', skip: 3 })
    const again = restart(ledger)
    expect(again.place).toMatchObject({ position: 'A', skip: 3 })
    expect(pass(again, [message(2, 1), message(1, 1, { flags: 0 })])).toEqual(['seen', 'next'])
    expect(pass(again, [message(2, 2), message(1, 2)])).toEqual(['seen', 'next'])
    again.end('D')
    expect(again.place).toMatchObject({ position: 'D', skip: 0 })
  })

  it('keeps an instance that ended while its messages would be read again', () => {
    const ledger = newLedger()
    pass(ledger, [message(2, 0)])
    ledger.end('A')
    const close = message(1, 1, { kind: KIND.CLOSE })
    pass(ledger, [message(2, 1, { flags: 0 }), message(1, 0), close])
    ledger.handOut(0, true)
    for (const n of [2, 3, 4]) {
      listen(ledger, GONE_MS / 2)
      pass(ledger, [message(2, n, { kind: KIND.BEAT })])
    }
    const again = restart(ledger)
    expect(again.place.position).toBe('A')
    expect(pass(again, [message(2, 1, { flags: 0 }), message(1, 0), close])).toEqual([
      'next',
      'seen',
      'seen',
    ])
  })

  it('reads a log whose place was lost as if it were new', () => {
    const ledger = newLedger()
    pass(ledger, [message(1, 0), message(1, 1), message(1, 2, { flags: 0 })])
    const again = restart(ledger)
    again.rewind()
    expect(again.place).toMatchObject({ position: undefined, skip: 0 })
    expect(pass(again, [message(1, 0)])).toEqual(['gap'])
  })

  it('counts a declaration among the parts of an epoch once, also when it is read again', () => {
    const ledger = newLedger()
    const parts = [
      message(1, 1, { flags: 0 }),
      message(1, 2, { kind: KIND.NAMESPACES }),
      message(1, 3, { flags: 0 }),
    ]
    pass(ledger, [message(1, 0)])
    ledger.declare(instanceOf(1), [7])
    pass(ledger, parts)
    ledger.declare(instanceOf(1), [9])
    const again = restart(ledger)
    expect(pass(again, parts)).toEqual(['next', 'next', 'next'])
    expect(pass(again, [message(1, 9, { flags: declarationFlags(1) })])).toEqual(['gap'])
    expect(lossOf(again.handOut(0, true))).toEqual([['gap', [7, 9]]])
  })

  it('begins again with the first of several unfinished epochs', () => {
    const ledger = newLedger()
    pass(ledger, [message(1, 0), message(2, 0)])
    ledger.end('A')
    pass(ledger, [message(2, 1, { flags: 0 })])
    ledger.end('B')
    pass(ledger, [message(1, 1, { flags: 0 })])
    expect(ledger.place).toMatchObject({ position: 'A', skip: 2 })
    pass(ledger, [message(2, 2)])
    expect(ledger.place).toMatchObject({ position: 'B', skip: 2 })
    pass(ledger, [message(1, 7, { flags: 0 })]) // a gap ends what was unfinished
    ledger.end('C')
    pass(ledger, [message(1, 8)])
    expect(ledger.place).toMatchObject({ skip: 0 })
    ledger.end('D')
    pass(ledger, [message(1, 9, { flags: 0 })])
    ledger.end('E')
    pass(ledger, [message(2, 3, { flags: 0 })])
    expect(ledger.place).toMatchObject({ position: 'D', skip: 2 })
  })

  it('lets an old CLOSE end nothing', () => {
    const ledger = newLedger()
    pass(
      ledger,
      [0, 1, 2].map((n) => message(1, n)),
    )
    expect(pass(ledger, [message(1, 1, { kind: KIND.CLOSE, crc: 99 })])).toEqual(['gap'])
    expect(ledger.isLive(instanceOf(1))).toBe(true)
  })

  it('forgets an instance that ended, when it has listened for goneMs', () => {
    const ledger = newLedger()
    const sizes: number[] = []
    for (let round = 0; round < 5; round++) {
      const lives = Array.from({ length: 100 }, (_, i) => 100 * round + i)
      pass(
        ledger,
        lives.flatMap((i) => [message(i, 0), message(i, 1, { kind: KIND.CLOSE })]),
      )
      ledger.handOut(0, true)
      listen(ledger, GONE_MS)
      const bytes = new ByteWriter()
      ledger.write(bytes)
      sizes.push(bytes.bytes.length)
    }
    expect(Math.max(...sizes)).toBe(sizes[0])
  })

  it('is in its log and at its place after a restart, also where there is none', () => {
    const ledger = newLedger()
    expect(ledger.place).toEqual({ log: undefined, position: undefined, skip: 0 })
    expect(restart(ledger).place).toEqual(ledger.place)
    ledger.enter('log-1')
    pass(ledger, [message(1, 0)])
    expect([ledger.log, ledger.place]).toEqual([
      'log-1',
      { log: 'log-1', position: 'after 1', skip: 0 },
    ])
    const again = restart(ledger)
    expect([again.log, again.position, again.place]).toEqual(['log-1', 'after 1', ledger.place])
  })

  it('knows after a restart what came before an epoch that is under way', () => {
    const ledger = newLedger()
    const part = message(1, 2, { flags: 0 })
    pass(ledger, [message(1, 0), message(1, 1)])
    pass(ledger, [part])
    expect(pass(restart(ledger), [part, message(1, 1)])).toEqual(['next', 'seen'])
    const lacks = newLedger()
    const behind = message(1, 5, { flags: 0 })
    pass(lacks, [message(1, 0)])
    expect(pass(lacks, [behind])).toEqual(['gap'])
    lacks.handOut(0, true)
    // Of the message before it, only the number is known: it stays so in one clock after the other.
    const again = restart(restart(lacks))
    expect(pass(again, [behind, message(1, 6)])).toEqual(['next', 'next'])
    expect(lossOf(again.handOut(0, true))).toEqual([])
  })

  it('reads nothing twice up to the last message that it had read', () => {
    const ledger = newLedger()
    pass(ledger, [message(1, 0), message(2, 0)])
    ledger.end('A')
    const nameless = (of: Ledger): unknown[] => {
      of.begin()
      of.damaged(undefined, undefined, 0)
      return of.handOut(0, true).filter(({ node }) => node === NAMELESS)
    }
    const read = [message(1, 1, { flags: 0 }), message(2, 1), message(2, 2), message(2, 1)]
    expect(pass(ledger, read)).toEqual(['next', 'next', 'next', 'seen'])
    expect(pass(restart(ledger), read)).toEqual(['next', 'seen', 'seen', 'seen'])
    expect(nameless(ledger)).toHaveLength(1)
    const again = restart(ledger)
    pass(again, read)
    expect(nameless(again)).toEqual([])
    expect(nameless(again)).toHaveLength(1)
  })

  it('writes, if it is to be short, only those that live or have lost something', () => {
    const ledger = newLedger()
    const close = message(2, 1, { kind: KIND.CLOSE })
    pass(ledger, [message(1, 0), message(2, 0), close, message(3, 0)])
    const engine = new Map([[instanceOf(3), 'gone' as const]])
    listen(ledger, 1, 0, engine)
    const [long, short] = [false, true].map((isShort) => {
      const bytes = new ByteWriter()
      ledger.write(bytes, isShort)
      return restore(bytes.bytes)
    })
    for (const each of [long, short])
      expect(each.handOut(0, true)).toMatchObject([
        { node: 'node-1', reason: undefined, tagIndex: -1 },
        { node: 'node-3', reason: 'gone' },
      ])
    expect([pass(long, [close]), pass(short, [close])]).toEqual([['seen'], ['gap']])
  })

  it('keeps a loss as it is, with all its namespaces or without, after a restart', () => {
    const ledger = newLedger()
    pass(ledger, [message(1, 0), message(2, 0)])
    ledger.declare(instanceOf(1), [9])
    ledger.declare(instanceOf(1), [7])
    listen(ledger, GONE_MS, 9e9)
    const again = restart(ledger)
    expect(again.dueMs).toBe(-Infinity)
    for (const each of [ledger, again])
      expect(each.handOut(0, true)).toMatchObject([
        { reason: 'gone', lost: [7, 9], from: 1000, to: 9e9 },
        { reason: 'gone', lost: 'everything', from: 1000, to: 9e9 },
      ])
  })

  it('unites losses that are kept back: due with the first, as wide as both', () => {
    const jitters = [900, 100, 500]
    const ledger = newLedger(() => jitters.shift() ?? 700)
    pass(ledger, [message(1, 0)])
    ledger.declare(instanceOf(1), [7])
    pass(ledger, [message(1, 2, { atMs: 9000 })])
    expect(lossOf(ledger.handOut(0, false))).toEqual([])
    pass(ledger, [message(1, 4, { atMs: 5000 })])
    expect(ledger.dueMs).toBe(100)
    expect(ledger.handOut(100, false)).toMatchObject([
      { lost: 'everything', reason: 'gap', from: 1000, to: 9000 },
    ])
  })

  it('has lost everything although a twin declares namespaces later', () => {
    const ledger = newLedger()
    pass(ledger, [message(1, 0)])
    ledger.declare(instanceOf(1), [7])
    pass(ledger, [message(1, 0, { crc: 99, flags: declarationFlags(0) })])
    ledger.declare(instanceOf(1), [9])
    pass(ledger, [message(1, 2, { flags: declarationFlags(0) })])
    expect(ledger.handOut(0, true)).toMatchObject([{ namespaces: [9], lost: 'everything' }])
    pass(ledger, [message(1, 4, { flags: declarationFlags(0) })])
    expect(ledger.handOut(0, true)).toMatchObject([{ namespaces: [9], lost: [9] }])
  })

  it('takes everything for lost while no message says how many declarations there were', () => {
    const ledger = newLedger()
    pass(ledger, [message(1, 0), message(1, 0, { crc: 99 })])
    ledger.declare(instanceOf(1), [9])
    ledger.handOut(0, true)
    pass(ledger, [message(1, 2)])
    expect(lossOf(ledger.handOut(0, true))).toEqual([['gap', 'everything']])
  })

  it('goes on behind an instance whatever its twin sends', () => {
    const ledger = newLedger()
    pass(ledger, [message(1, 0), message(1, 1), message(1, 2)])
    ledger.handOut(0, true)
    const twin = message(1, 1, { crc: 99 })
    expect(pass(ledger, [twin, twin, message(1, 3)])).toEqual(['gap', 'seen', 'next'])
    expect(pass(ledger, [message(1, 3, { crc: 99, kind: KIND.CLOSE })])).toEqual(['gap'])
    expect(ledger.isLive(instanceOf(1))).toBe(true)
    ledger.handOut(0, true)
    // OPEN of a twin does not say that the other one has published nothing.
    expect(pass(ledger, [message(1, 0, { crc: 99, atMs: 9000 })])).toEqual(['gap'])
    expect(ledger.handOut(0, true)).toMatchObject([{ reason: 'gap', from: 4000 }])
  })

  it('says how long it has listened since it heard an instance last', () => {
    const ledger = newLedger()
    pass(ledger, [message(1, 0)])
    listen(ledger, 100)
    pass(ledger, [message(1, 1)])
    listen(ledger, 50)
    expect(ledger.living()).toMatchObject([{ instance: instanceOf(1), silentMs: 50 }])
    expect([1, 2].map((index) => ledger.isLive(instanceOf(index)))).toEqual([true, false])
  })

  it('knows an instance that has ended for goneMs, and one that has a loss until it is told', () => {
    const ledger = newLedger()
    const close = message(1, 1, { kind: KIND.CLOSE })
    pass(ledger, [message(1, 0)])
    listen(ledger, GONE_MS / 2)
    pass(ledger, [close])
    ledger.handOut(0, true)
    listen(ledger, GONE_MS - 1)
    expect(pass(ledger, [close])).toEqual(['seen'])
    listen(ledger, 1)
    expect(pass(ledger, [close, message(2, 0)])).toEqual(['gap', 'next'])
    ledger.handOut(0, true)
    listen(ledger, GONE_MS)
    listen(ledger, GONE_MS)
    expect(lossOf(ledger.handOut(0, true))).toEqual([['gone', 'everything']])
  })

  it.each([
    ['OPEN', KIND.OPEN, [], undefined],
    ['EPOCH', KIND.EPOCH, [['gap', [7]]], [7]],
    ['BEAT', KIND.BEAT, [], [7]],
    ['CLOSE', KIND.CLOSE, [], [7]],
    ['NAMESPACES', KIND.NAMESPACES, [['gap', 'everything']], undefined],
    ['of a later version', 77, [['gap', 'everything']], undefined],
  ])('loses what a message that cannot be read may have had: %s', (_, kind, lost, namespaces) => {
    const ledger = newLedger()
    pass(ledger, [message(1, 0)])
    ledger.declare(instanceOf(1), [7])
    const unreadable = message(1, 1, { kind })
    pass(ledger, [unreadable])
    ledger.handOut(0, true)
    ledger.unreadable(unreadable, 0)
    const news = ledger.handOut(60_000, true)
    expect(lossOf(news)).toEqual(lost)
    if (kind !== KIND.CLOSE) expect(news).toMatchObject([{ namespaces }])
  })

  it('takes a damaged message for everything if the engine knows only half of its sender', () => {
    for (const [node, instance] of [
      ['node-1', undefined],
      [undefined, instanceOf(1)],
    ]) {
      const ledger = newLedger()
      ledger.begin()
      ledger.damaged(node, instance, 0)
      expect(ledger.handOut(0, true)).toMatchObject([{ node: NAMELESS, lost: 'everything' }])
    }
  })

  it('takes an answer to a cut for no sign of an epoch whose parts are still coming', () => {
    const ledger = newLedger()
    const beat = message(1, 2, { kind: KIND.BEAT })
    pass(ledger, [message(1, 0), message(1, 1, { flags: 0 }), beat])
    ledger.hasNoKeys(beat)
    expect(ledger.handOut(0, true)).toMatchObject([{ to: 1000 }])
  })

  it('has the newest tag, and where it came, until it is handed out', () => {
    const ledger = newLedger()
    pass(ledger, [message(1, 0), message(1, 1)])
    ledger.note(instanceOf(1), undefined, Uint8Array.of(1))
    ledger.note(instanceOf(1), undefined, undefined)
    const news = ledger.handOut(0, true)
    expect(news).toMatchObject([{ tag: Uint8Array.of(1), tagIndex: 2 }])
    ledger.giveBack(news)
    pass(ledger, [message(1, 2)])
    expect(ledger.handOut(0, true)).toMatchObject([{ tag: Uint8Array.of(1), tagIndex: 2 }])
    expect(ledger.handOut(0, true)).toMatchObject([{ tag: undefined, tagIndex: -1 }])
    ledger.damaged(undefined, undefined, 0)
    expect(ledger.handOut(0, true)).toMatchObject([{}, { node: NAMELESS, tagIndex: -1 }])
  })

  it.each([
    [undefined, undefined, undefined],
    [[9], undefined, [9]],
    [undefined, [9], [9]],
    [
      [9, 8],
      [10, 9, 2],
      [2, 8, 9, 10],
    ],
    ['everything', [9], 'everything'],
    [[9], 'everything', 'everything'],
    ['everything', 'everything', 'everything'],
    [undefined, 'everything', 'everything'],
    ['everything', undefined, 'everything'],
  ] as const)('gives back a loss of %j with one of %j as one of %j', (one, other, both) => {
    const ledger = newLedger()
    pass(ledger, [message(1, 0)])
    const [news] = ledger.handOut(0, true)
    ledger.giveBack([{ ...news, lost: one }])
    ledger.giveBack([{ ...news, lost: other }])
    expect(ledger.handOut(0, true)).toMatchObject([{ lost: both }])
  })

  it('tells one loss of a sender that is not known beside one that was given back', () => {
    const ledger = newLedger()
    const damaged = (): void => ledger.damaged(undefined, undefined, 0)
    ledger.begin()
    damaged()
    ledger.giveBack(ledger.handOut(0, true))
    damaged()
    expect(ledger.handOut(0, true)).toMatchObject([{ node: NAMELESS, instance: '' }])
  })

  describe('while no epoch is handed out', () => {
    const ROUNDS = 7
    /** 100 instances a round begin, and end long before the next round. */
    function livesAndEnds(ledger: Ledger, isClean: boolean, note: (instance: string) => void) {
      for (let round = 0; round < ROUNDS; round++) {
        for (let i = 100 * round; i < 100 * (round + 1); i++) {
          pass(ledger, isClean ? [message(i, 0), message(i, 1)] : [message(i, 0)])
          note(instanceOf(i))
          if (isClean) pass(ledger, [message(i, 2, { kind: KIND.CLOSE })])
        }
        listen(ledger, GONE_MS)
        ledger.listen(GONE_MS)
      }
    }

    it('it names the last 500 instances that ended, and clean ends cost nothing', () => {
      const ledger = newLedger()
      livesAndEnds(ledger, true, () => undefined)
      const news = ledger.handOut(0, true)
      expect(lossOf(news)).toEqual([])
      expect(news.map(({ instance }) => instance)).toEqual(
        Array.from({ length: 500 }, (_, i) => instanceOf(100 * ROUNDS - 500 + i)),
      )
    })

    it('it takes everything for lost instead of naming more than 500 that are gone', () => {
      const ledger = newLedger()
      livesAndEnds(ledger, false, () => undefined)
      const news = ledger.handOut(0, true)
      expect(news.length).toBe(501)
      expect(news.filter(({ node }) => node === NAMELESS)).toMatchObject([
        { instance: '', reason: 'gone', lost: 'everything', from: 1000 },
      ])
      expect(ledger.handOut(0, true)).toEqual([])
    })

    it('it says of those without a name since when, and when they are due', () => {
      const jitters = [300, 200]
      const ledger = newLedger(() => jitters.shift() ?? 1e6)
      const all = Array.from({ length: 502 }, (_, i) => [message(i, 0), message(i, 1)])
      pass(ledger, all.flat())
      listen(ledger, GONE_MS, 9e9)
      ledger.listen(GONE_MS)
      expect(ledger.dueMs).toBe(200)
      expect(lossOf(ledger.handOut(199, false))).toEqual([])
      expect(ledger.handOut(200, false).filter(({ lost }) => lost !== undefined)).toMatchObject([
        { node: NAMELESS, reason: 'gone', lost: 'everything', from: 1000, to: 9e9 },
      ])
    })

    it.each([
      ['tag', undefined, Uint8Array.of(7)],
      ['reason', 'overflow' as const, undefined],
    ])('it takes everything for lost instead of forgetting a %s', (_, reason, tag) => {
      const ledger = newLedger()
      livesAndEnds(ledger, true, (instance) => {
        if (instance === instanceOf(5)) ledger.note(instance, reason, tag)
      })
      expect(ledger.dueMs).toBe(-Infinity)
      expect(lossOf(ledger.handOut(0, false))).toEqual([[reason ?? 'gap', 'everything']])
    })
  })
})

// ------------------------------------------------------------------------------------ histories

type Step =
  | { do: 'open' | 'beat' | 'close' | 'repeat' | 'drop' | 'twin' | 'unreadable'; who: number }
  | { do: 'epoch'; who: number; parts: number; space: number }
  | { do: 'declare'; who: number; space: number; isReadable: boolean }
  | { do: 'damage'; who: number; known: boolean }
  | { do: 'read'; count: number }
  | { do: 'hand out'; isCut: boolean; commit: boolean }
  | { do: 'listen'; ms: number }
  | { do: 'restart' | 'lose place' }

const who = fc.nat(2)
const simple = fc.constantFrom('open' as const, 'beat' as const, 'repeat' as const)
const bad = fc.constantFrom(
  'close' as const,
  'drop' as const,
  'twin' as const,
  'unreadable' as const,
)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: simple, who }) },
  { weight: 2, arbitrary: fc.record({ do: bad, who }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('epoch' as const),
      who,
      parts: fc.integer({ min: 1, max: 3 }),
      space: fc.nat(5),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('declare' as const),
      who,
      space: fc.nat(5),
      isReadable: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('damage' as const), who, known: fc.boolean() }),
  },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('read' as const), count: fc.nat(4) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('hand out' as const),
      isCut: fc.boolean(),
      commit: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('listen' as const),
      ms: fc.constantFrom(1000, 100_000, GONE_MS),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restart' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('lose place' as const) }) },
)

interface Content {
  readonly keys: readonly number[]
  readonly spaces: readonly number[] | undefined
  readonly isReadable: boolean
}

interface Life {
  readonly index: number
  n: number
  declarations: number
  readonly spaces: Set<number>
  readonly declares: boolean
  isClosed: boolean
  /** The next message is lost on its way. */
  drops: boolean
  /** Something was lost, or may have been, so that it may be named. */
  isMarred: boolean
  last: { message: Envelope; content: Content } | undefined
}

interface Published {
  readonly key: number
  readonly space: number
  readonly instance: string
  /** The number of the last part of its epoch; Infinity: a twin's, and not read yet. */
  endN: number
  readonly twinOf: number | undefined
}

/** The state of a reader that goes by a ledger: its sets are those that KeyUnion makes of keys. */
class MiniReader {
  keys = new Set<number>()
  readonly parts = new Map<string, Set<number>>()
  /** The highest number that was read of each instance. */
  readonly read = new Map<string, number>()
  cursor = 0
  isFresh = false
  constructor(readonly ledger: Ledger) {}

  release(instance: string): void {
    for (const key of this.parts.get(instance) ?? []) this.keys.add(key)
    this.parts.delete(instance)
  }
}

type Logged = { message: Envelope; content: Content } | { engine: Life | undefined }

/** Knows the whole history, and says what a reader must have been told. */
class World {
  readonly #log: Logged[] = []
  readonly #lives: Life[] = []
  readonly #current = new Map<number, Life>()
  readonly #published: Published[] = []
  /** Keys that were handed out, or covered by a loss that was told; both committed. */
  readonly #settled = new Set<number>()
  #reader = new MiniReader(newLedger())
  #clock: Uint8Array | undefined
  #readAtClock = new Map<string, number>()
  #nowMs = 0

  run(steps: readonly Step[]): void {
    for (const each of steps) {
      this.#nowMs += 10
      this.#do(each)
    }
    // In the end: what was read is told, and who fell silent is gone. (An instance that was gone
    // before, and then lost the first message of its second life, is told of no more.)
    this.#readAll()
    this.#handOut(true, true)
    const living = new Set(this.#reader.ledger.living().map(({ instance }) => instance))
    this.#listen(GONE_MS)
    this.#handOut(true, true)
    for (const { key, instance } of this.#published)
      if (living.has(instance))
        expect([instance, key, this.#settled.has(key)]).toEqual([instance, key, true])
  }

  #do(event: Step): void {
    switch (event.do) {
      case 'read':
        for (let i = 0; i < event.count; i++) this.#readSome(1 + (i % 2))
        return
      case 'hand out': {
        this.#handOut(event.isCut, event.commit)
        return
      }
      case 'listen':
        this.#readAll()
        {
          this.#listen(event.ms)
          return
        }
      case 'restart': {
        this.#restart()
        return
      }
      case 'lose place': {
        this.#losePlace()
        return
      }
      case 'open': {
        const index = this.#lives.length
        const life: Life = {
          index,
          n: 0,
          declarations: 0,
          spaces: new Set([event.who]),
          declares: event.who > 0,
          isClosed: false,
          drops: false,
          isMarred: false,
          last: undefined,
        }
        this.#lives.push(life)
        this.#current.set(event.who, life)
        this.#send(
          life,
          { kind: KIND.OPEN },
          { spaces: life.declares ? [...life.spaces] : undefined },
        )
        return
      }
      default:
    }
    const life = this.#current.get(event.who)
    if (life === undefined || life.isClosed) return
    switch (event.do) {
      case 'beat': {
        this.#send(life, { kind: KIND.BEAT })
        return
      }
      case 'close':
        this.#send(life, { kind: KIND.CLOSE })
        life.isClosed = true
        return
      case 'repeat':
        if (life.last !== undefined) this.#log.push(life.last)
        return
      case 'drop':
        life.drops = true
        return
      case 'twin': {
        if (life.last === undefined) return
        const { message: last, content } = life.last
        life.isMarred = true
        const keys = content.keys.map(() =>
          this.#newKey(life, [...life.spaces][0], Infinity, last.n),
        )
        this.#log.push({
          message: { ...last, crc: 1e6 + this.#log.length },
          content: { ...content, keys },
        })
        return
      }
      case 'unreadable':
        life.isMarred = true
        this.#epoch(life, 1, [...life.spaces][0], false)
        return
      case 'damage':
        this.#log.push({ engine: event.known ? life : undefined })
        return
      case 'declare':
        life.spaces.add(event.space)
        life.isMarred ||= !event.isReadable
        this.#send(
          life,
          { kind: KIND.NAMESPACES },
          { spaces: [event.space], isReadable: event.isReadable },
        )
        life.declarations++
        return
      case 'epoch': {
        this.#epoch(life, event.parts, [...life.spaces][event.space % life.spaces.size])
        return
      }
    }
  }

  #epoch(life: Life, parts: number, space: number, isReadable = true): void {
    const endN = life.n + parts - 1
    for (let part = 1; part <= parts; part++) {
      const flags = part === parts ? ENVELOPE_LAST_PART : 0
      const keys = [this.#newKey(life, space, endN)]
      this.#send(life, { kind: KIND.EPOCH, flags }, { keys, isReadable })
      if (part < parts) this.#readSome(1)
    }
  }

  #newKey(life: Life, space: number, endN: number, twinOf?: number): number {
    const key = this.#published.length
    this.#published.push({ key, space, instance: instanceOf(life.index), endN, twinOf })
    return key
  }

  #send(life: Life, more: Partial<Envelope>, content: Partial<Content> = {}): void {
    const n = life.n++
    const flags = (more.flags ?? 0) | declarationFlags(life.declarations)
    const sent = {
      message: message(life.index, n, { ...more, flags }),
      content: { keys: [], spaces: undefined, isReadable: true, ...content },
    }
    life.last = sent
    if (life.drops) {
      life.isMarred = true
      life.drops = false
      if (n === 0) this.#current.forEach((each, at) => each === life && this.#current.delete(at))
      if (n > 0) life.last = undefined
    } else {
      this.#log.push(sent)
    }
    // A drop is found by the next message. Without one, the instance is gone.
  }

  #readSome(count: number): void {
    const { ledger } = this.#reader
    const end = Math.min(this.#log.length, this.#reader.cursor + count)
    while (this.#reader.cursor < end) {
      ledger.begin()
      this.#take(this.#log[this.#reader.cursor++])
    }
    ledger.end(String(end))
  }

  #readAll(): void {
    this.#readSome(Infinity)
  }

  #take(entry: Logged): void {
    const { ledger, parts, keys, read } = this.#reader
    if ('engine' in entry) {
      const life = entry.engine
      const instance = life === undefined ? undefined : instanceOf(life.index)
      ledger.damaged(life && `node-${life.index}`, instance, this.#nowMs)
      return
    }
    const { message: each, content } = entry
    const { instance } = each
    for (const key of content.keys) {
      const published = this.#published[key]
      published.endN = published.twinOf ?? published.endN
    }
    const verdict = ledger.receive(each, this.#nowMs)
    read.set(instance, Math.max(read.get(instance) ?? -1, each.n))
    if (verdict === 'seen') return
    if (verdict === 'gap') this.#reader.release(instance)
    if (!content.isReadable) ledger.unreadable(each, this.#nowMs)
    if ((each.kind === KIND.OPEN || each.kind === KIND.NAMESPACES) && content.isReadable)
      ledger.declare(instance, content.spaces)
    if (each.kind === KIND.CLOSE) this.#reader.release(instance)
    if (each.kind !== KIND.EPOCH) return
    const isLast = (each.flags & ENVELOPE_LAST_PART) !== 0
    if (isLast) this.#reader.release(instance)
    const into = isLast ? keys : (parts.get(instance) ?? new Set())
    if (!isLast) parts.set(instance, into)
    if (content.isReadable) for (const key of content.keys) into.add(key)
  }

  #listen(ms: number): void {
    this.#reader.ledger.listen(ms)
    for (const { instance } of this.#reader.ledger.bury(this.#nowMs, 0)) {
      this.#reader.release(instance)
      this.#lives.find(({ index }) => instanceOf(index) === instance)!.isMarred = true
    }
  }

  #restart(): void {
    const reader = this.#clock === undefined ? newLedger() : restore(this.#clock)
    this.#reader = new MiniReader(reader)
    this.#reader.cursor = Number(reader.position ?? 0)
    for (const [instance, n] of this.#readAtClock) this.#reader.read.set(instance, n)
    for (const key of this.#published) if (key.twinOf !== undefined) key.endN = Infinity
    this.#reader.isFresh = this.#clock === undefined
    if (this.#reader.isFresh) this.#catchUp()
  }

  #losePlace(): void {
    const { ledger, parts } = this.#reader
    ledger.rewind()
    for (const instance of [...parts.keys()]) this.#reader.release(instance)
    this.#reader.cursor = Math.floor(this.#log.length / 3)
    for (const life of this.#lives) life.isMarred = true // its first messages were trimmed
    this.#reader.isFresh = true
    this.#catchUp()
  }

  /** To the log's end: a fresh reader is told about everything anyway. */
  #catchUp(): void {
    this.#readAll()
    this.#reader.ledger.forgive()
  }

  #handOut(isCut: boolean, commit: boolean): void {
    const { ledger, isFresh } = this.#reader
    const { keys } = this.#reader
    this.#reader.keys = new Set()
    const news = ledger.handOut(this.#nowMs, isCut)
    this.#reader.isFresh = false
    for (const { instance, reason, lost, node } of news) {
      if (lost === undefined || node === NAMELESS) continue
      const life = this.#lives.find(({ index }) => instanceOf(index) === instance)!
      // It names no instance of which nothing was lost.
      expect([instance, reason, life.isMarred]).toEqual([instance, reason, true])
    }
    if (!commit) {
      ledger.giveBack(news)
      for (const key of keys) this.#reader.keys.add(key)
      this.#reader.isFresh = isFresh
      return
    }
    for (const key of keys) this.#settled.add(key)
    for (const { key, space, instance } of this.#published) {
      const told = news.filter((each) => each.instance === instance || each.node === NAMELESS)
      const isLost = told.some(
        ({ lost }) => lost === 'everything' || (lost !== undefined && lost.includes(space)),
      )
      if (isLost || isFresh) this.#settled.add(key)
    }
    const bytes = new ByteWriter()
    ledger.write(bytes)
    this.#clock = bytes.bytes.slice()
    this.#readAtClock = new Map(this.#reader.read)
    if (!isCut) return
    // Whatever came before a message that was read is in an epoch, or was told to be lost.
    for (const { key, instance, endN } of this.#published) {
      const read = this.#reader.read.get(instance) ?? -1
      if (endN <= read)
        expect([instance, key, endN, this.#settled.has(key)]).toEqual([instance, key, endN, true])
    }
  }
}

function restore(clock: Uint8Array): Ledger {
  return Ledger.read(new ByteReader(clock), { goneMs: GONE_MS, jitterMs: () => 0 })
}

describe('histories of a log that drops, repeats, forges and damages', () => {
  it('the ledger tells each loss, and names no instance of which nothing was lost', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 80, size: 'max' }), (steps) => {
        new World().run(steps)
      }),
      { numRuns: Number(process.env.HISTORIES ?? 300), endOnFailure: false },
    )
  })
})
