import { describe, expect, it } from '@jest/globals'
import { encodeBeatBody, encodeEpochBody } from '../../lib/cluster/body.js'
import { ENVELOPE_LAST_PART, KIND } from '../../lib/cluster/envelope.js'
import { Intake, type Trouble } from '../../lib/cluster/intake.js'
import { Ledger } from '../../lib/cluster/ledger.js'
import type { UnionKeys } from '../../lib/cluster/union.js'
import type { Key, TrackerOptions } from '../../lib/index.js'
import type { KeyKind } from '../../lib/memory/settings.js'
import { ScriptedNode } from '../support/cluster-nodes.js'
import { FaultLog } from '../support/fault-log.js'

const MINUTE = 60_000
const NONE = new Uint8Array(0)
const OTHER = 'f'.repeat(32)
const keysOf = (keys: UnionKeys): unknown[] => [...keys.listed()].sort()

/** An intake that reads a log, and what it tells. */
class Reading {
  readonly log: FaultLog
  readonly ledger = new Ledger({ goneMs: 5 * MINUTE, jitterMs: () => 0 })
  readonly troubles: Trouble[] = []
  readonly answers: string[][] = []
  readonly excepted = new Set<string>()
  readonly intake: Intake
  #position: string | undefined

  constructor(keys: KeyKind = 'any', isNamed = true) {
    this.log = new FaultLog({ seed: 1, isNamed, readMax: Infinity })
    this.intake = new Intake(this.ledger, {
      limits: {},
      keys,
      isExcepted: (instance) => this.excepted.has(instance.toLowerCase()),
      onAnswer: (request, instance) => this.answers.push([request, instance]),
      onTrouble: (trouble) => this.troubles.push(trouble),
    })
  }

  open(node: string): ScriptedNode {
    return new ScriptedNode(this.log, node).open()
  }

  /** Reads what has come. Returns what was told of it. */
  read(nowMs = 0): string[] {
    const before = this.troubles.length
    const found = this.log.read(this.#position)
    this.#position = found.position
    this.intake.take(found, nowMs)
    return this.troubles.slice(before).map(({ message }) => message)
  }

  /** The keys that have come since it was asked last. */
  keys(): unknown[] {
    return keysOf(this.intake.takeKeys())
  }
}

describe('the intake of a cluster reader', () => {
  it('has the keys that are given back beside those that have come meanwhile', async () => {
    const reading = new Reading()
    const { intake } = reading
    const node = reading.open('web')
    await node.epoch([1])
    reading.read()
    const first = intake.takeKeys()
    expect([intake.epochs, intake.keys.size]).toEqual([0, 0])
    await node.epoch([2])
    await node.epoch([3])
    reading.read()
    intake.giveBack(first, 1)
    expect([intake.epochs, keysOf(intake.keys)]).toEqual([3, [1, 2, 3]])
    const all = intake.takeKeys()
    intake.giveBack(all, 3)
    expect(intake.takeKeys()).toBe(all)
  })

  it('keeps the parts of an epoch until its last one, a gap, or CLOSE', async () => {
    const reading = new Reading()
    const [ends, lacks, closes] = ['ends', 'lacks', 'closes'].map((node) => reading.open(node))
    for (const [i, node] of [ends, lacks, closes].entries())
      await node.epoch([10 * i], { isLast: false })
    reading.read()
    expect(reading.keys()).toEqual([])
    ends.send(KIND.BEAT, encodeBeatBody([]), { flags: ENVELOPE_LAST_PART }) // of no epoch
    reading.read()
    expect(reading.keys()).toEqual([])
    await ends.epoch([1])
    reading.read()
    expect(reading.keys()).toEqual([0, 1])
    lacks.skip()
    await lacks.epoch([11], { isLast: false })
    reading.read()
    expect(reading.keys()).toEqual([10])
    closes.close()
    expect(reading.read()).toEqual([])
    expect(reading.keys()).toEqual([20])
    reading.intake.releaseAll()
    expect(reading.keys()).toEqual([11])
    reading.intake.releaseAll()
    expect(reading.keys()).toEqual([])
  })

  it('leaves keys out while it skims, but keeps the parts of an epoch', async () => {
    const reading = new Reading()
    const { intake, ledger } = reading
    intake.isSkimming = true
    const node = reading.open('web')
    node.tag = Uint8Array.of(7)
    await node.epoch([1])
    reading.read()
    expect([intake.epochs, ledger.handOut(0, true)[0].tag]).toEqual([0, undefined])
    await node.epoch([2], { isLast: false })
    await node.epoch([3])
    await node.epoch([4], { isLast: false })
    reading.read()
    intake.isSkimming = false
    await node.epoch([5])
    reading.read()
    expect(reading.keys()).toEqual([4, 5])
  })

  it('has a copy of a tag, because the message is not its own', async () => {
    const reading = new Reading()
    const node = reading.open('web')
    node.tag = Uint8Array.of(7)
    await node.epoch([1])
    reading.read()
    for (const { bytes } of reading.log.entries) bytes.fill(0)
    expect(reading.ledger.handOut(0, true)[0].tag).toEqual(Uint8Array.of(7))
  })

  it('takes a beat that answers a cut for a sign that no key waits, and no other', () => {
    const reading = new Reading()
    const node = reading.open('web')
    node.beat()
    reading.read()
    expect(reading.ledger.handOut(0, true)[0].to).toBe(1000)
    node.beat(['a', 'b'])
    reading.read()
    expect(reading.ledger.handOut(0, true)[0].to).toBe(1002)
    expect(reading.answers).toEqual([
      ['a', node.instance],
      ['b', node.instance],
    ])
  })

  it.each<[string, Key, TrackerOptions]>([
    ['number', 7, { keys: 'number' }],
    ['bigint', 7n, { keys: 'bigint' }],
    ['string', 'a', {}],
    ['bytes', Uint8Array.of(1), {}],
  ])('refuses keys of another kind than %s, and takes those', async (kind, key, options) => {
    const all = ['number', 'bigint', 'string', 'bytes', 'any'] as const
    const taken: string[] = []
    for (const each of all) {
      const reading = new Reading(each)
      const node = reading.open('web')
      await node.epoch([], { options })
      expect(reading.read()).toEqual([]) // it has no keys of any kind
      await node.epoch([key], { options })
      const told = reading.read()
      if (told.length === 0) taken.push(each)
      else
        expect(told).toEqual([
          expect.stringContaining(
            `they have keys of the kind '${kind}', and this reader has '${each}'`,
          ),
        ])
      expect(reading.keys()).toEqual(told.length === 0 ? [key] : [])
    }
    expect(taken).toEqual([kind, 'any'])
  })
})

describe('warnings of a cluster reader', () => {
  it('come once a minute for each thing, of which it remembers 1,000', () => {
    const { intake, troubles } = new Reading()
    const isTold = (about: string, nowMs: number): boolean => {
      const before = troubles.length
      intake.warn(about, nowMs, {
        message: about,
        node: undefined,
        instance: undefined,
        error: undefined,
      })
      return troubles.length > before
    }
    const start = 5 * MINUTE
    expect(isTold('0', start)).toBe(true)
    expect(isTold('1', start)).toBe(true)
    expect(isTold('0', start + MINUTE - 1)).toBe(false)
    expect(isTold('0', start + MINUTE)).toBe(true)
    expect(isTold('0', start + MINUTE + 1)).toBe(false)
    for (let i = 2; i < 1000; i++) expect(isTold(`${i}`, start + MINUTE)).toBe(true)
    expect(isTold('0', start + MINUTE + 1)).toBe(false)
    expect(isTold('1000', start + MINUTE + 1)).toBe(true)
    expect(isTold('0', start + MINUTE + 1)).toBe(true)
  })

  it('tell of a message that says that it is from another node or instance', () => {
    const reading = new Reading()
    const node = reading.open('web')
    const bytes = node.seal(KIND.CLOSE, NONE, { n: 1 })
    const { messages, ...found } = reading.log.read(undefined)
    const take = (from: { node?: string; instance?: string }): unknown[] => {
      const before = reading.troubles.length
      reading.intake.take({ ...found, messages: [{ bytes, ...from }] }, 0)
      return reading.troubles.slice(before)
    }
    const trouble = (says: string, from: object): object => ({
      message:
        `a message says that it is from web, instance ${node.instance}, ` +
        `and the engine says ${says}: it is dropped`,
      ...from,
      error: undefined,
    })
    reading.intake.take({ ...found, messages }, 0)
    for (const [from, says] of [
      [{ node: 'evil' }, 'evil, instance unknown'],
      [{ node: 'vile' }, 'vile, instance unknown'],
      [{ instance: OTHER }, `nothing, instance ${OTHER}`],
      [{ node: 'web', instance: '0'.repeat(32) }, `web, instance ${'0'.repeat(32)}`],
      [{ node: 'evil', instance: '1'.repeat(32) }, `evil, instance ${'1'.repeat(32)}`],
      [{ node: 'evil', instance: node.instance }, `evil, instance ${node.instance}`],
    ] as const)
      expect(take(from)).toEqual([trouble(says, from)])
    expect(reading.ledger.isLive(node.instance)).toBe(true)
    for (const from of [{}, { node: 'web' }, { instance: node.instance }])
      expect(take(from)).toEqual([])
    expect(reading.ledger.isLive(node.instance)).toBe(false)
  })

  it('tell of each instance of which a message cannot be read, and why', () => {
    const reading = new Reading()
    const cases = [
      [KIND.EPOCH, { format: 2 }, 'their format is 2, and this version reads 1'],
      [77, {}, 'their kind is 77, which this version does not know'],
    ] as const
    for (const [kind, more, why] of cases) {
      const node = reading.open('web')
      const body = encodeEpochBody({ requests: [], tag: NONE, keys: NONE })
      node.send(kind, body, { flags: ENVELOPE_LAST_PART, ...more })
      const told = reading.read()
      expect(told).toEqual([
        `messages of web can't be read: these bytes are not what the library wrote: ${why}. ` +
          'All keys that it may have marked count as dirty, once a minute',
      ])
      const { node: label, instance, error } = reading.troubles.at(-1)!
      expect([label, instance, error]).toEqual(['web', node.instance, expect.any(Error)])
      expect(reading.ledger.handOut(0, true).at(-1)).toMatchObject({ reason: 'gap' })
    }
  })

  it('tell of damaged messages whose they are, except of those that are left out', () => {
    const reading = new Reading()
    const bytes = new Uint8Array(100)
    const damaged = (from: { node?: string; instance?: string }): unknown[] => {
      const before = reading.troubles.length
      reading.intake.take({ ...reading.log.read(undefined), messages: [{ bytes, ...from }] }, 0)
      return reading.troubles.slice(before)
    }
    reading.excepted.add(OTHER)
    expect(damaged({ node: 'web', instance: OTHER })).toEqual([])
    expect(reading.ledger.living()).toEqual([])
    for (const digit of '12') {
      const from = { node: 'web', instance: digit.repeat(32) }
      const message = `a message of web, instance ${from.instance}, is damaged: it counts as missing`
      expect(damaged(from)).toEqual([{ message, ...from, error: undefined }])
    }
    expect(reading.ledger.living()).toHaveLength(2)
    const message =
      'a message in the log is damaged, or not from this library: all keys count as dirty'
    expect(damaged({})).toEqual([
      { message, node: undefined, instance: undefined, error: undefined },
    ])
    expect(damaged({})).toEqual([])
  })
})
