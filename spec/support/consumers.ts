import { expect } from '@jest/globals'
import { type Aggregator, recover, takeRole } from '../../lib/aggregator/state.js'
import { FINISHED_ALL, IDLE, LOST_ROLE, step } from '../../lib/aggregator/step.js'
import { Supervisor } from '../../lib/aggregator/supervisor.js'
import { filterOf, setOf, textsOf } from '../../lib/epochs/common.js'
import {
  epochAt,
  FLAG_EVERYTHING,
  FLAG_OVERFLOW,
  FLAG_SATURATED,
  FLAG_UNPUBLISHED,
  FORM_EXACT,
  FORM_FILTER,
  OWNER,
  SLOT_EPOCH,
  SLOT_TEXT_END,
} from '../../lib/memory/map.js'
import type { Memory } from '../../lib/memory/memory.js'
import { readSealedSlot, type SlotHeader } from '../../lib/memory/slot.js'
import { type Lane, publish, stage, stageText } from '../../lib/ring/lane.js'
import { EPOCH_MASK, EVERYTHING } from '../../lib/ring/token.js'
import { filterHas } from '../../lib/set/filter.js'
import { contains } from '../../lib/set/kernel.js'
import { containsText, HEAD_AT, recordWords, textBytesOf } from '../../lib/set/text-set.js'
import { digest, hashWords } from '../../lib/text/murmur.js'
import {
  abandonSeal,
  canSealNow,
  closePlace,
  commitPlace,
  GIVEN_BACK,
  lastSlotOf,
  openOutbox,
  openPlace,
  type Outbox,
  requestEverything,
  requestSeal,
  requestStop,
  restorePlace,
  type Sealing,
  sendFirst,
  takeSealed,
  type Ticket,
  trySeal,
} from '../../lib/tracker/outbox.js'
import type { Place } from '../../lib/tracker/places.js'
import { open, THREAD } from './aggregators.js'
import {
  Interrupted,
  interruptions,
  logOf,
  type MemoryOptions,
  smallMemory,
  watchAccesses,
  watched,
} from './steps.js'
import { encoded } from './text-sets.js'

/** What interrupts the aggregator: nothing, its thread's death, or an exception that it contains. */
export type Ends = 'never' | 'dies' | 'throws'

/** A number below 2^31, or a text. */
export type MarkedKey = number | string

/** What an epoch, or several of them together, has to hold. */
export interface Content {
  readonly keys: ReadonlySet<MarkedKey>
  readonly isSuperset: boolean
  /** FLAG_EVERYTHING, FLAG_UNPUBLISHED. */
  readonly flags: number
}

const EMPTY: Content = { keys: new Set(), isSuperset: false, flags: 0 }

/** A consumer beside the core: the place, and what the core must have for it. */
export interface Reader {
  readonly place: Place
  /** What is kept for it, beside what it holds. */
  due: Content
  held: Content | undefined
  ticket: Ticket | undefined
  /** The cut that was answered, and is not settled. */
  answer: Sealing | undefined
  isClosed: boolean
}

/**
 * Several consumers over the shipped core, driven by hand on one thread: the tracker's side, one
 * writer, and an aggregator that can be stopped at any store. Beside them an oracle of plain sets.
 */
export class Consumers {
  readonly memory: Memory
  readonly outbox: Outbox
  readonly readers: Reader[] = []
  readonly lane: Lane
  readonly raw: Memory
  readonly #size: number
  #a: Aggregator | undefined
  readonly #supervisor: Supervisor | undefined
  #staged: MarkedKey[] = []
  #open: Content = EMPTY

  constructor(size: number, options: MemoryOptions = {}, ends: Ends = 'never') {
    this.#size = size
    this.raw = smallMemory({ maxConsumers: size, epochSlots: 2 * size + 2, ...options })
    this.memory = ends !== 'never' ? watched(this.raw) : this.raw
    this.outbox = openOutbox(this.raw, options.start?.epoch ?? 0)
    this.lane = open(this.raw)
    let now = 0
    if (ends === 'throws')
      this.#supervisor = new Supervisor(this.memory, THREAD, () => (now += 2000))
  }

  /** Marks what the lane has room for, and publishes if the ring has. */
  mark(keys: readonly MarkedKey[]): void {
    for (const key of keys) {
      if (typeof key === 'number' ? stage(this.lane, key, 0) : this.#stageText(key))
        this.#staged.push(key)
      this.#notePublished()
    }
    publish(this.lane)
    this.#notePublished()
  }

  #notePublished(): void {
    const { end, published } = this.lane
    const left = (end - published) | 0
    const keys = new Set(this.#staged.splice(0, this.#staged.length - left))
    this.#open = this.#unite(this.#open, { ...EMPTY, keys })
  }

  #stageText(text: string): boolean {
    const { words, head } = encoded(text)
    hashWords(words, head >>> 1, 0)
    return stageText(this.lane, digest[0], digest[1], words, head)
  }

  everything(): void {
    requestEverything(this.outbox)
    this.send()
  }

  /** Undefined if all places are taken. */
  open(isFresh: boolean): Reader | undefined {
    const { outbox, readers } = this
    if (outbox.places.length >= this.#size) return undefined
    const { epoch } = outbox
    const place = openPlace(outbox, isFresh)
    if (outbox.epoch !== epoch) this.#cut(undefined)
    const reader: Reader = {
      place,
      due: EMPTY,
      held: undefined,
      ticket: undefined,
      answer: undefined,
      isClosed: false,
    }
    readers.push(reader)
    return reader
  }

  seal(reader: Reader): void {
    if (reader.ticket !== undefined || reader.isClosed) return
    const { place } = reader
    reader.ticket = { place }
    requestSeal(this.outbox, reader.ticket)
    this.send()
  }

  trySeal(reader: Reader): boolean {
    if (reader.ticket !== undefined || reader.isClosed) return false
    const { outbox } = this
    const { place } = reader
    const before = JSON.stringify([outbox.freeSlots, outbox.places, outbox.epoch])
    const can = outbox.queue.length === 0 && canSealNow(outbox, place)
    const ticket = { place }
    if (!trySeal(outbox, ticket)) {
      expect(JSON.stringify([outbox.freeSlots, outbox.places, outbox.epoch])).toBe(before)
      return false
    }
    expect(can).toBe(true)
    reader.ticket = ticket
    this.#cut(reader)
    return true
  }

  abandon(reader: Reader): void {
    const { ticket } = reader
    if (ticket === undefined || reader.answer !== undefined) return
    reader.ticket = undefined
    if (abandonSeal(this.outbox, ticket) === GIVEN_BACK) this.#giveBack(reader)
    this.send()
  }

  commit(reader: Reader): void {
    if (reader.answer === undefined) return
    this.checkHeld(reader)
    commitPlace(this.outbox, reader.place)
    this.#settled(reader)
    this.send()
  }

  restore(reader: Reader): void {
    if (reader.answer === undefined) return
    this.checkHeld(reader)
    this.#giveBack(reader)
    restorePlace(this.outbox, reader.place)
    this.#settled(reader)
    this.send()
  }

  close(reader: Reader): void {
    this.abandon(reader)
    reader.isClosed = true
    reader.due = EMPTY
    closePlace(this.outbox, reader.place)
    if (reader.answer === undefined) this.#forget(reader)
    this.send()
  }

  #settled(reader: Reader): void {
    reader.held = undefined
    reader.answer = undefined
    reader.ticket = undefined
    if (reader.isClosed) this.#forget(reader)
  }

  #forget(reader: Reader): void {
    this.readers.splice(this.readers.indexOf(reader), 1)
  }

  #giveBack(reader: Reader): void {
    if (reader.isClosed) return
    if (reader.place.isFresh) reader.due = EMPTY
    else reader.due = this.#unite(reader.due, reader.held!)
    reader.held = undefined
  }

  /** Puts into the ring what it has room for. */
  send(): void {
    const { outbox } = this
    while (outbox.queue.length > 0) {
      const { epoch } = outbox
      const { kind, ticket } = outbox.queue[0]
      if (!sendFirst(outbox)) break
      if (outbox.epoch !== epoch) this.#cut(this.readers.find((each) => each.ticket === ticket))
      if (kind === EVERYTHING) this.#open = { ...this.#open, flags: FLAG_EVERYTHING }
    }
    this.checkSlots()
  }

  #cut(reader: Reader | undefined): void {
    const sealed = this.#open
    this.#open = EMPTY
    for (const each of this.readers) {
      const { place } = each
      if (each === reader) {
        each.held = this.#unite(each.due, sealed)
        each.due = EMPTY
      } else if (!each.isClosed && !(place.isFresh && place.held < 0)) {
        each.due = this.#unite(each.due, sealed)
      }
    }
  }

  #unite(one: Content, other: Content): Content {
    const keys = new Set([...one.keys, ...other.keys])
    const { maxKeysPerEpoch, maxStringsPerEpoch, maxStringBytesPerEpoch } = this.memory.layout
    const texts = [...keys].filter((key) => typeof key === 'string')
    const bytes = texts.reduce((sum, text) => sum + text.length, 0)
    const isFull =
      keys.size - texts.length > maxKeysPerEpoch ||
      texts.length > maxStringsPerEpoch ||
      bytes > maxStringBytesPerEpoch
    return {
      keys,
      isSuperset: one.isSuperset || other.isSuperset || isFull,
      flags: one.flags | other.flags,
    }
  }

  /** Makes so many steps, interrupted at these stores. Returns how many of these were not reached. */
  steps(most: number, stores: readonly number[] = []): number {
    const plan = interruptions(stores)
    for (let i = 0; i < most; i++) {
      try {
        const result =
          stores.length === 0 ? this.#step() : watchAccesses(plan.watch, () => this.#step())
        if (result === LOST_ROLE) throw new Error('the role was lost')
        if (result === IDLE || result === FINISHED_ALL) break
      } catch (error) {
        if (!(error instanceof Interrupted)) throw error
        this.#a = undefined
      }
    }
    return plan.left
  }

  /** From the aggregator's death on there is a successor. */
  dies(): void {
    this.#a = undefined
  }

  /** Until nothing is left to do. */
  stepsTo(end: typeof IDLE | typeof FINISHED_ALL): void {
    for (let tries = 0, result = -1; result !== end; tries++) {
      if (tries === 100_000) throw new Error('the aggregator comes to no end')
      result = this.#step()
    }
  }

  #step(): number {
    if (this.#supervisor !== undefined) return this.#supervisor.run(1)
    if (this.#a === undefined) {
      this.raw.words[OWNER] = 0
      const a = takeRole(this.memory, THREAD)
      recover(a)
      this.#a = a
    }
    return step(this.#a)
  }

  /** The tracker looks what has come to pass. */
  take(): void {
    const { outbox } = this
    for (let sealing = takeSealed(outbox); sealing !== undefined; sealing = takeSealed(outbox)) {
      const { ticket, abandoned } = sealing
      if (abandoned) continue
      const reader = this.readers.find((each) => each.ticket === ticket)!
      reader.answer = sealing
      this.checkHeld(reader)
    }
    this.send()
  }

  /** What a reader holds is what it must get. */
  checkHeld({ answer, held }: Reader): void {
    this.check(answer!.slot, answer!.id, held!)
  }

  check(slot: number, id: number, content: Content): void {
    const raw = this.raw
    const header = readSealedSlot(raw, slot, id & EPOCH_MASK)
    const wanted = (content.isSuperset ? FLAG_OVERFLOW : 0) | content.flags
    expect({ id, flags: header.flags & ~FLAG_SATURATED }).toEqual({ id, flags: wanted })
    expect(header.form).toBe(content.isSuperset ? FORM_FILTER : FORM_EXACT)
    const listed: MarkedKey[] = [...logOf(raw, slot).map(Number), ...textsIn(raw, slot)]
    expect(new Set(listed).size).toBe(listed.length)
    const invented = listed.filter((key) => !content.keys.has(key))
    const has = lookup(raw, slot, header)
    const missing = [...content.keys].filter((each) => !has(each))
    const unlisted = content.isSuperset
      ? []
      : [...content.keys].filter((each) => !listed.includes(each))
    expect({ id, invented, missing, unlisted }).toEqual({
      id,
      invented: [],
      missing: [],
      unlisted: [],
    })
  }

  /** Each slot is in one place, and none is lost. */
  checkSlots(): void {
    const { freeSlots, places, openSlot } = this.outbox
    const used = places.flatMap(({ held, backlog, older }) => [held, backlog, older])
    const all = [openSlot, ...freeSlots, ...used.filter((slot) => slot >= 0)]
    const wanted = Array.from({ length: this.memory.layout.epochSlots }, (_, slot) => slot)
    expect(all.sort((a, b) => a - b)).toEqual(wanted)
  }

  /** Stops, and checks the last epoch of each reader. */
  stop(deaths: readonly number[] = []): void {
    this.beginStop(deaths)
    this.steps(1000, deaths)
    this.stepsTo(FINISHED_ALL)
    this.checkLast()
  }

  /** Puts STOP into the ring. */
  beginStop(deaths: readonly number[] = []): void {
    const { outbox } = this
    outbox.isClosing = true
    for (const ticket of outbox.waiting.splice(0)) {
      const reader = this.readers.find((each) => each.ticket === ticket)
      if (reader !== undefined) reader.ticket = undefined
    }
    requestStop(outbox)
    this.send()
    for (let tries = 0; outbox.queue.length > 0; tries++) {
      expect(tries).toBeLessThan(100)
      this.steps(1000, tries === 0 ? deaths : [])
      this.take()
    }
  }

  checkLast(): void {
    const { outbox } = this
    if (this.#staged.length > 0)
      this.#open = { ...this.#open, flags: this.#open.flags | FLAG_UNPUBLISHED }
    this.take()
    for (const reader of this.readers) {
      if (reader.answer !== undefined) this.checkHeld(reader)
      if (!reader.isClosed)
        this.check(
          lastSlotOf(outbox, reader.place),
          outbox.epoch,
          this.#unite(reader.due, this.#open),
        )
    }
  }

  /** Checks what was cut and what is kept, once the aggregator has done all. Changes nothing. */
  checkEach(): void {
    const { outbox, raw } = this
    const sealing = [...outbox.sealing]
    for (const { id, slot, ticket } of sealing) {
      expect(takeSealed(outbox)?.id).toBe(id)
      const reader = this.readers.find((each) => each.ticket === ticket && ticket !== undefined)
      if (reader !== undefined) this.check(slot, id, reader.held!)
    }
    expect(outbox.sealing).toEqual([])
    outbox.sealing.push(...sealing)
    for (const { place, due } of this.readers) {
      const { backlog, older } = place
      if (backlog < 0) expect(due).toEqual(EMPTY)
      else if (older < 0)
        this.check(backlog, raw.words[epochAt(raw.layout, backlog) + SLOT_EPOCH], due)
    }
  }

  /** Lets everything arrive, and checks what each reader gets next. */
  checkAll(): void {
    for (const reader of [...this.readers]) {
      for (let tries = 0; reader.answer === undefined && !reader.isClosed; tries++) {
        expect(tries).toBeLessThan(100)
        this.seal(reader)
        this.steps(1000)
        this.take()
      }
      if (reader.answer !== undefined) this.commit(reader)
    }
  }
}

/** has() of an epoch, as its readers ask: a filter once it is full, otherwise the tables. */
function lookup(memory: Memory, slot: number, header: SlotHeader): (key: MarkedKey) => boolean {
  if (header.form === FORM_FILTER) {
    const filter = filterOf(memory, slot)
    return (key) => {
      if (typeof key === 'number') return filterHas(filter, key, 0)
      const { words, head } = encoded(key)
      hashWords(words, head >>> 1, 0)
      return filterHas(filter, digest[0], digest[1])
    }
  }
  const [set, texts] = [setOf(memory, slot, header), textsOf(memory, slot, header)]
  return (key) => {
    if (typeof key === 'number') return contains(set, key, 0)
    const { words, head } = encoded(key)
    return header.textCount > 0 && containsText(texts, words, head)
  }
}

/** The texts that a slot lists. They are ASCII. */
export function textsIn({ words, layout }: Memory, slot: number): string[] {
  const header = epochAt(layout, slot)
  const arena = header + layout.arena
  const texts: string[] = []
  for (let at = arena; at < arena + words[header + SLOT_TEXT_END];) {
    const head = words[at + HEAD_AT]
    const bytes = Array.from({ length: textBytesOf(head) }, (_, k) => {
      const word = words[at + 2 + (k >>> 2)]
      return (word >>> (8 * (k & 3))) & 255
    })
    texts.push(String.fromCharCode(...bytes))
    at += recordWords(head)
  }
  return texts
}
