import { describe, expect, it } from '@jest/globals'
import { leaveRole, recover, storeSlot, takeRole } from '../../lib/aggregator/state.js'
import { step, WORKED } from '../../lib/aggregator/step.js'
import {
  CUR,
  epochAt,
  FLAG_NAMESPACES,
  FLAG_OVERFLOW,
  FORM_CLEARING,
  FORM_EXACT,
  FORM_FILLING,
  FORM_FILTER,
  OWNER,
  SLOT_CHECK,
  SLOT_COUNT,
  SLOT_EPOCH,
  SLOT_FILL,
  SLOT_FLAGS,
  SLOT_FORM,
  SLOT_GROWTH,
  SLOT_NAMESPACES,
  SLOT_RESTORED,
  SLOT_TEXT_BYTES,
  SLOT_TEXT_COUNT,
  SLOT_TEXT_END,
  SLOT_TEXT_GROWTH,
  SLOT_ZERO,
} from '../../lib/memory/map.js'
import type { Memory } from '../../lib/memory/memory.js'
import {
  checkOf,
  EMPTY_SLOT,
  faultOf,
  filterBits,
  NAMESPACE_MAX,
  readOpenSlot,
  readSealedSlot,
  readSlot,
  type SlotHeader,
} from '../../lib/memory/slot.js'
import { keysAt, textsAt } from '../../lib/memory/table-size.js'
import { publish } from '../../lib/ring/lane.js'
import { EVERYTHING } from '../../lib/ring/token.js'
import { HEAD_AT } from '../../lib/set/text-set.js'
import { control, open, run, seal, send, stageKeys, THREAD } from '../support/aggregators.js'
import { logOf, type MemoryOptions, smallMemory } from '../support/steps.js'

const CORRUPT = expect.objectContaining({ code: 'ERR_DIRTYRING_CORRUPT' })

const TEXTS: MemoryOptions = { maxStringsPerEpoch: 8, maxStringBytesPerEpoch: 64 }

/** What the aggregator stores of an epoch's keys while it is open, and when it is sealed. */
const HEADER = {
  SLOT_COUNT,
  SLOT_FILL,
  SLOT_FLAGS,
  SLOT_GROWTH,
  SLOT_NAMESPACES,
  SLOT_TEXT_BYTES,
  SLOT_TEXT_COUNT,
  SLOT_TEXT_END,
  SLOT_TEXT_GROWTH,
  SLOT_ZERO,
}

/** An open epoch with some of everything, in slot 1, beside a clean one in slot 2. */
function filled(): { memory: Memory; at: number } {
  const memory = smallMemory(TEXTS)
  const lane = open(memory)
  seal(memory, 1)
  run(memory)
  stageKeys(lane, 0, 1, 2, 3, 4, 'a', 'bb', 'ccc')
  publish(lane)
  control(memory, EVERYTHING, 2 + 5 - 1) // namespace 5
  control(memory, EVERYTHING, 2 + 9 - 1)
  return { memory, at: epochAt(memory.layout, 1) }
}

const WANTED: Partial<SlotHeader> = {
  count: 5,
  zero: true,
  textCount: 3,
  textBytes: 6,
  textEnd: 9,
  form: FORM_EXACT,
  fill: 0,
  namespaces: [5, 9],
}

describe("An epoch slot's header", () => {
  it('C2: is that of an epoch without keys when the slot is used again, whatever it held', () => {
    const { memory, at } = filled()
    const { words, layout } = memory
    run(memory)
    const before = words.slice(epochAt(layout, 0), at)
    for (const word of [...Object.values(HEADER), SLOT_RESTORED]) {
      words[epochAt(layout, 2) + word] = 1
    }
    words.fill(77, epochAt(layout, 2) + layout.table, epochAt(layout, 2) + layout.table + 8)
    seal(memory, 2)
    run(memory)
    expect(words.slice(epochAt(layout, 0), at)).toEqual(before)
    for (const [name, word] of Object.entries(HEADER))
      expect([name, words[epochAt(layout, 2) + word]]).toEqual([name, 0])
    expect(words[epochAt(layout, 2) + SLOT_RESTORED]).toBe(0)
    expect(readSealedSlot(memory, 1, 1)).toMatchObject(WANTED)
    expect(logOf(memory, 1).map(Number)).toEqual([0, 1, 2, 3, 4])
  })

  it.each(Object.entries({ ...HEADER, SLOT_FORM, SLOT_EPOCH, NAMESPACE: SLOT_NAMESPACES + 1 }))(
    'is right when the epoch is sealed, though other code wrote into it: %s',
    (_, word) => {
      const { memory, at } = filled()
      const { words, layout } = memory
      words[OWNER] = 0
      const a = takeRole(memory, THREAD)
      recover(a)
      while (step(a) === WORKED);
      const neighbor = words.slice(epochAt(layout, 0), at)
      words[at + word] ^= 3
      seal(memory, 2)
      while (step(a) === WORKED);
      expect(readSealedSlot(memory, 1, 1)).toMatchObject(WANTED)
      expect(words.slice(epochAt(layout, 0), at)).toEqual(neighbor)
    },
  )

  it('is only what the library can have made', () => {
    const { layout } = smallMemory(TEXTS)
    const { smallestTable, largestTable, smallestTextTable, largestTextTable } = layout
    const growth = Math.log2(largestTable / smallestTable)
    const textGrowth = Math.log2(largestTextTable / smallestTextTable)
    const [count, textCount] = [keysAt(layout, largestTable), textsAt(layout, largestTextTable)]
    const [textEnd, fill] = [layout.arenaWords, filterBits(layout)]
    const spaces = (...namespaces: number[]) => ({ flags: FLAG_NAMESPACES, namespaces })
    const fault = (header: Partial<SlotHeader>) => faultOf(layout, { ...EMPTY_SLOT, ...header })
    for (const right of [
      {},
      { growth, count },
      { textGrowth, textCount, textEnd },
      { form: FORM_FILTER, flags: FLAG_OVERFLOW, fill },
      spaces(0, NAMESPACE_MAX),
    ])
      expect([right, fault(right)]).toEqual([right, undefined])
    for (const [wrong, what] of [
      [{ growth: -1 }, 'doubled -1 times'],
      [{ growth: growth + 1 }, `doubled ${growth + 1} times`],
      [{ count: -1 }, '-1 keys'],
      [{ growth, count: count + 1 }, `${count + 1} keys in a table of ${largestTable} cells`],
      [{ flags: 128 }, 'flags 128'],
      [{ textGrowth: -1 }, 'texts that has doubled -1 times'],
      [{ textGrowth: textGrowth + 1 }, `texts that has doubled ${textGrowth + 1} times`],
      [{ textEnd: -1 }, '-1 words of text'],
      [{ textEnd: textEnd + 1 }, `${textEnd + 1} words of text, of ${textEnd}`],
      [{ textCount: -1 }, '-1 texts'],
      [{ textGrowth, textCount: textCount + 1 }, `in a table of ${largestTextTable} cells`],
      [{ namespaces: [1] }, '1 namespaces, and flags 0'],
      [spaces(), '0 namespaces, and flags'],
      [spaces(3, -1), 'namespaces 3, -1'],
      [spaces(3, NAMESPACE_MAX + 1), `namespaces 3, ${NAMESPACE_MAX + 1}`],
      [{ form: FORM_EXACT - 1, flags: FLAG_OVERFLOW }, 'form -1'],
      [{ form: FORM_FILTER + 1, flags: FLAG_OVERFLOW }, `form ${FORM_FILTER + 1}`],
      [{ form: FORM_FILTER }, 'no overflow'],
      [{ fill: fill + 1 }, `${fill + 1} bits of ${fill} set`],
    ] as const)
      expect([wrong, fault(wrong)]).toEqual([wrong, expect.stringContaining(what)])
  })

  it('is an error where a word of a sealed epoch has changed, or says that it is half turned', () => {
    const { memory, at } = filled()
    const { words } = memory
    seal(memory, 2)
    run(memory)
    expect(readSealedSlot(memory, 1, 1)).toMatchObject(WANTED)
    words[at + SLOT_ZERO] = 2
    expect(() => readSlot(memory, 1)).toThrow('epoch slot 1 has a flag 2 for key 0')
    words[at + SLOT_ZERO] = 1
    const unlike = 'does not hold what was sealed as epoch 1 (mod 2^19)'
    words[at + SLOT_NAMESPACES + 1]++
    expect(() => readSealedSlot(memory, 1, 1)).toThrow(unlike)
    words[at + SLOT_NAMESPACES + 1]--
    words[at + SLOT_FLAGS] |= FLAG_OVERFLOW
    for (const form of [FORM_EXACT, FORM_CLEARING, FORM_FILLING, FORM_FILTER]) {
      words[at + SLOT_FORM] = form
      words[at + SLOT_CHECK] = checkOf(1, readSlot(memory, 1))
      const isWhole = form === FORM_EXACT || form === FORM_FILTER
      if (isWhole) expect(readSealedSlot(memory, 1, 1)).toMatchObject({ form })
      else expect(() => readSealedSlot(memory, 1, 1)).toThrow(unlike)
    }
  })

  it('is that of the open epoch, open or sealed, and an error where the slot has another one', () => {
    const { memory } = filled()
    run(memory)
    expect(readOpenSlot(memory, 1, 1)).toMatchObject({ count: 5, isSealed: false })
    seal(memory, 2)
    run(memory)
    expect(readOpenSlot(memory, 1, 1)).toMatchObject({ ...WANTED, isSealed: true })
    for (const slot of [0, 1, 2]) expect(() => readOpenSlot(memory, slot, 3)).toThrow(CORRUPT)
  })

  it('has no namespaces without the flag for them, whatever their words are', () => {
    const { memory, at } = filled()
    const { words } = memory
    run(memory)
    words[at + SLOT_FLAGS] = 0
    expect(readSlot(memory, 1).namespaces).toEqual([])
  })

  it.each([-1, 3])('belongs to a slot that there is: not %d', (slot) => {
    const memory = smallMemory()
    expect(() => readSlot(memory, slot)).toThrow('there are 3 slots')
  })

  it.each([0, 1])(
    'ends a successor if the open epoch is sealed, and no SEAL waits for it (%d batches do)',
    (batches) => {
      const memory = smallMemory()
      if (batches > 0) send(open(memory), 1n)
      const a = takeRole(memory, THREAD)
      recover(a)
      storeSlot(a, a.epoch)
      leaveRole(a)
      expect(() => recover(takeRole(memory, THREAD))).toThrow('is sealed already')
      memory.words[CUR] |= 1 << 30
      leaveRole(a)
      expect(() => recover(takeRole(memory, THREAD))).toThrow(CORRUPT)
    },
  )

  it('ends a successor if the texts of a full epoch do not hold together', () => {
    const memory = smallMemory({ ...TEXTS, maxStringsPerEpoch: 2 })
    const { words, layout } = memory
    const lane = open(memory)
    stageKeys(lane, 'a', 'b', 'c')
    publish(lane)
    run(memory)
    const at = epochAt(layout, 0)
    expect(words[at + SLOT_FORM]).toBe(FORM_FILTER)
    const head = at + layout.arena + HEAD_AT
    words[head] += 2 * 40
    expect(() => run(memory)).toThrow(CORRUPT)
    words[head] -= 2 * 40
    run(memory)
  })

  it('ends a successor if the last text of the open epoch leads behind the published ones', () => {
    const memory = smallMemory(TEXTS)
    const { words, layout } = memory
    const lane = open(memory)
    stageKeys(lane, 'a', 'b')
    publish(lane)
    run(memory)
    words[epochAt(layout, 0) + layout.arena + 3 + HEAD_AT] += 2 * 40
    expect(() => run(memory)).toThrow(CORRUPT)
  })

  it('C13: says which thread has the role', () => {
    const memory = smallMemory()
    takeRole(memory, 41)
    expect(() => takeRole(memory, 5)).toThrow('the aggregator runs already, on thread 41')
  })
})
