import { describe, expect, it } from '@jest/globals'
import type { SealedEpoch } from '../../lib/epochs/sealed-epoch.js'
import {
  epochAt,
  FLAG_EVERYTHING,
  FLAG_OVERFLOW,
  FORM_EXACT,
  FORM_FILLING,
  FORM_FILTER,
  PLAN_COUNTS,
  PLAN_MERGES,
  planAt,
  SLOT_COUNT,
  SLOT_FILL,
  SLOT_FLAGS,
  SLOT_FORM,
  SLOT_TEXT_COUNT,
  SLOT_TEXT_END,
} from '../../lib/memory/map.js'
import { mergeWord } from '../../lib/memory/plan.js'
import { filterBits } from '../../lib/memory/slot.js'
import { nowMs } from '../../lib/timers.js'
import type { HandedOut } from '../../lib/tracker/handed-out.js'
import { type ConsumerLag, lagOf, lookAtLast } from '../../lib/tracker/lag.js'
import { openOutbox, type Outbox } from '../../lib/tracker/outbox.js'
import { newPlace, type Place } from '../../lib/tracker/places.js'
import { smallMemory } from '../support/steps.js'

/** The header of a slot. */
interface Header {
  count?: number
  texts?: number
  /** 0: the slot's texts are of an epoch before. */
  textEnd?: number
  flags?: number
  form?: number
  fill?: number
}

const EPOCH = 5
const OPEN = 7

/** A tracker's side with eight slots, whose open epoch 5 is in slot 7, and a place. */
class Scene {
  readonly outbox: Outbox
  readonly place: Place = newPlace(false)
  /** What the consumer has in hand, and where it stands. */
  readonly hand: {
    epochs: Partial<SealedEpoch>[]
    position: number | undefined
    begin: number
    upToDateAt: number
  } = { epochs: [], position: EPOCH - 1, begin: EPOCH, upToDateAt: nowMs() }

  constructor() {
    const memory = smallMemory({
      epochSlots: 8,
      maxConsumers: 3,
      maxStringsPerEpoch: 8,
      start: { epoch: EPOCH },
    })
    this.outbox = openOutbox(memory, EPOCH)
    this.outbox.openSlot = OPEN
  }

  /** Writes a header. Slot -1 is none: its words are those before the first slot. */
  put(slot: number, header: Header): void {
    const { count = 0, texts = 0, textEnd = texts, flags = 0, form = FORM_EXACT, fill = 0 } = header
    const { words, layout } = this.outbox.memory
    const at = epochAt(layout, slot)
    words[at + SLOT_COUNT] = count
    words[at + SLOT_TEXT_COUNT] = texts
    words[at + SLOT_TEXT_END] = textEnd
    words[at + SLOT_FLAGS] = flags
    words[at + SLOT_FORM] = form
    words[at + SLOT_FILL] = fill
  }

  /** Writes the plan of an epoch: [source, target] of each merge, of which `count` are valid. */
  plan(epoch: number, merges: [number, number][], count = merges.length): void {
    const { words } = this.outbox
    words[planAt(epoch) + PLAN_COUNTS] = count
    for (const [i, [source, target]] of merges.entries())
      words[planAt(epoch) + PLAN_MERGES + i] = mergeWord(source, target, false, -1)
  }

  /** A cut of this epoch is in the ring, so no plan since is carried out. */
  cutFrom(id: number): void {
    const cut = { ticket: undefined, sealed: 0, slot: 0, own: 0, staged: 0, abandoned: true }
    this.outbox.sealing.push({ ...cut, id })
  }

  get lag(): ConsumerLag {
    return lagOf(this.outbox, this.place, this.hand as unknown as HandedOut)
  }

  get seen(): unknown[] {
    const { keys, epochs, precision } = this.lag
    return [keys, epochs, precision]
  }
}

const epochOf = (id: number, size: number): Partial<SealedEpoch> => ({
  id,
  size,
  precision: 'exact',
})

describe("a consumer's lag", () => {
  it('counts the keys of the open epoch and of its backlog, and no slot that it does not have', () => {
    const scene = new Scene()
    scene.put(-1, { count: 1000 })
    scene.put(OPEN, { count: 3, texts: 4 })
    expect(scene.seen).toEqual([7, 0, 'exact'])
    scene.put(1, { count: 10 })
    scene.put(2, { count: 200, texts: 3, textEnd: 0 })
    Object.assign(scene.place, { backlog: 1, older: 2 })
    Object.assign(scene.hand, { begin: 2 })
    expect(scene.seen).toEqual([217, 3, 'exact'])
  })

  it('counts the epoch that a cut has promised it, until that one is in hand', () => {
    const scene = new Scene()
    scene.put(3, { count: 5 })
    scene.place.held = 3
    expect(scene.lag.keys).toBe(5)
    scene.hand.epochs = [epochOf(4, 6)]
    expect(scene.lag.keys).toBe(6)
  })

  it('does not count the open epoch once it is the last one, in hand or settled', () => {
    const scene = new Scene()
    scene.put(OPEN, { count: 40 })
    scene.hand.epochs = [epochOf(3, 1), epochOf(4, 2)]
    expect(scene.lag.keys).toBe(43)
    scene.hand.epochs = [epochOf(4, 2), epochOf(EPOCH, 3)]
    expect(scene.lag.keys).toBe(5)
    Object.assign(scene.hand, { epochs: [], begin: EPOCH + 1 })
    expect(scene.seen).toEqual([0, 0, 'exact'])
  })

  it('counts what the plans of cuts that are not carried out bring into its slots', () => {
    const scene = new Scene()
    for (const [slot, count] of [1, 2, 4, 8, 16, 32].entries()) scene.put(slot, { count })
    scene.place.backlog = 0
    scene.cutFrom(3)
    scene.plan(2, [[4, 0]]) // done
    scene.plan(
      3,
      [
        [1, 5],
        [3, 0],
        [4, 0], // behind the end of the plan
      ],
      2,
    )
    scene.plan(4, [[2, 0]])
    scene.plan(EPOCH, [[5, 0]]) // of an epoch long ago
    expect(scene.lag.keys).toBe(1 + 4 + 8)
  })

  it('is as precise as the least precise of its parts, and everything while it is fresh', () => {
    const scene = new Scene()
    const bits = filterBits(scene.outbox.memory.layout)
    const lookOf = (header: Header): unknown => {
      scene.put(OPEN, header)
      return lookAtLast(scene.outbox, scene.place)
    }
    // 0.5 of the bits: 8 bits a key, of which some coincide.
    const keys = Math.round((bits / 8) * Math.LN2)
    const full = { flags: FLAG_OVERFLOW, form: FORM_FILTER, fill: bits / 2 }
    expect(lookOf({ ...full, count: 1 })).toEqual({ keys, precision: 'superset' })
    expect(lookOf({ ...full, count: keys, texts: 3 })).toMatchObject({ keys: keys + 3 })
    expect(lookOf({ count: 5, form: FORM_FILLING })).toEqual({ keys: 5, precision: 'everything' })
    expect(lookOf({ count: 5, flags: FLAG_EVERYTHING })).toEqual({
      keys: 5,
      precision: 'everything',
    })
    expect(scene.seen).toEqual([5, 0, 'everything'])
    lookOf({ count: 5, flags: FLAG_OVERFLOW })
    scene.put(1, { count: 2 })
    scene.place.backlog = 1
    expect(scene.seen).toEqual([7, 0, 'superset'])
    scene.hand.position = undefined
    expect(scene.seen).toEqual([7, 0, 'everything'])
  })

  it('is as old as what was dealt with last, and never below 0', () => {
    const scene = new Scene()
    scene.hand.upToDateAt = nowMs() - 5000
    expect(scene.lag.ms).toBeGreaterThanOrEqual(5000)
    Object.assign(scene.hand, { upToDateAt: nowMs() + 1e6, begin: EPOCH + 1 })
    expect([scene.lag.ms, scene.lag.epochs]).toEqual([0, 0])
  })
})
