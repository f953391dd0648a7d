import { describe, expect, it } from '@jest/globals'
import { FINISHED_ALL, IDLE, WORKED } from '../../lib/aggregator/step.js'
import { BACKING_OFF, Supervisor } from '../../lib/aggregator/supervisor.js'
import { readError } from '../../lib/memory/failure.js'
import {
  CUR,
  epochAt,
  EVENTS,
  FAILED,
  FAILED_AT,
  FAILURES,
  FLAG_FAULT,
  HEAD,
  ITERATIONS,
  JOB_FAILURES,
  LANE_DELIVERED,
  LANE_OWNER,
  LANE_READ_END,
  LANE_STAGED_END,
  LANE_TEXT_READ,
  LANE_WAKE,
  laneAt,
  LISTENING,
  OWNER,
  PANICS,
  SIGNAL,
  SLOT_COUNT,
  SLOT_FLAGS,
  SLOT_RESTORED,
  STOPPED,
} from '../../lib/memory/map.js'
import type { Memory } from '../../lib/memory/memory.js'
import { mergeWord, storePlan } from '../../lib/memory/plan.js'
import { readTotal } from '../../lib/memory/total.js'
import { publish, stage } from '../../lib/ring/lane.js'
import { push } from '../../lib/ring/ring.js'
import type { ControlKind } from '../../lib/ring/token.js'
import {
  BATCH,
  CLOSE,
  controlToken,
  epochPayload,
  EVERYTHING,
  fullWord,
  isOwned,
  lapOf,
  NOP,
  POISON,
  REAP,
  RESTORE,
  SEAL,
  STOP,
  THREAD_BITS,
  writerPayload,
} from '../../lib/ring/token.js'
import { HEAD_AT } from '../../lib/set/text-set.js'
import {
  control,
  open,
  restore,
  run,
  seal,
  send,
  stageKeys,
  THREAD,
} from '../support/aggregators.js'
import { textsIn } from '../support/consumers.js'
import {
  logOf,
  type MemoryOptions,
  type OnAccess,
  picture,
  smallMemory,
  watchAccesses,
  watched,
} from '../support/steps.js'

describe('The supervisor', () => {
  let now = 0
  const at = (ms: number): void => {
    now = ms
  }

  function supervised(options: MemoryOptions = {}) {
    now = 5000
    const memory = smallMemory(options)
    return { memory, supervisor: new Supervisor(watched(memory), THREAD, () => now) }
  }

  /** Throws at every store into the open epoch's log. */
  const failing =
    (memory: Memory, slot = 0): OnAccess =>
    (kind, index) => {
      const log = epochAt(memory.layout, slot) + memory.layout.log
      if (kind === 'store' && index >= log && index < log + memory.layout.maxKeysPerEpoch * 2)
        throw new Error('planted')
    }

  /** Let it fail so often; how long it waits after each time. */
  function failures(supervisor: Supervisor, count: number, watch: OnAccess): number[] {
    return Array.from({ length: count }, () => {
      expect(watchAccesses(watch, () => supervisor.run(10))).toBe(BACKING_OFF)
      const wait = supervisor.retryAt - now
      at(supervisor.retryAt - 1)
      expect(supervisor.run(10)).toBe(BACKING_OFF)
      at(supervisor.retryAt)
      return wait
    })
  }

  it('contains an exception, counts it, says what it was, and does the work when it can be done', () => {
    const { memory, supervisor } = supervised()
    send(open(memory), 1n, 0n)
    failures(supervisor, 3, failing(memory))
    expect(memory.words[PANICS]).toBe(3)
    expect(readError(memory.words)).toBe('planted')
    expect(logOf(memory, 0)).toEqual([])
    expect(supervisor.run(10)).toBe(IDLE)
    expect(logOf(memory, 0)).toEqual([1n, 0n])
    expect(memory.words[epochAt(memory.layout, 0) + SLOT_FLAGS]).toBe(0)
    expect(memory.words[ITERATIONS]).toBe(4)
  })

  it('backs off for 10 ms, doubling up to 1 s, but for 10 ms before it gives a token up, and after a success', () => {
    const { memory, supervisor } = supervised()
    const others = (kind: 'load' | 'store', index: number): void => {
      if (kind === 'store' && index === ITERATIONS) throw new Error('planted')
    }
    expect(failures(supervisor, 10, others)).toEqual([
      10, 20, 40, 80, 160, 320, 640, 10, 1000, 1000,
    ])
    control(memory, NOP)
    expect(supervisor.run(10)).toBe(IDLE)
    expect(failures(supervisor, 2, others)).toEqual([10, 20])
  })

  it('does nothing when it is called from within itself', () => {
    const { memory, supervisor } = supervised()
    send(open(memory), 1n)
    let inner: number | undefined
    watchAccesses(
      (kind, index) => {
        if (kind === 'store' && index === epochAt(memory.layout, 0) + SLOT_COUNT)
          inner = supervisor.run(10)
      },
      () => supervisor.run(10),
    )
    expect(inner).toBe(WORKED)
    expect(logOf(memory, 0)).toEqual([1n])
    expect(memory.words[ITERATIONS]).toBe(1)
  })

  it('C6: gives up a batch that failed eight times: the epoch says fault, and the lane goes on', () => {
    const { memory, supervisor } = supervised()
    const lane = open(memory)
    send(lane, 1n, 2n)
    failures(supervisor, 7, failing(memory))
    expect(memory.words[epochAt(memory.layout, 0) + SLOT_FLAGS]).toBe(0)
    failures(supervisor, 1, failing(memory))
    expect(supervisor.run(10)).toBe(IDLE)
    expect(memory.words[epochAt(memory.layout, 0) + SLOT_FLAGS]).toBe(FLAG_FAULT)
    expect(memory.words[lane.header + LANE_READ_END]).toBe(2)
    send(lane, 3n)
    expect(supervisor.run(10)).toBe(IDLE)
    expect(logOf(memory, 0)).toEqual([3n])
  })

  it('a batch that its lane cannot hold, or whose lane does not exist, ends the aggregator: later batches would be taken for others', () => {
    for (const [token, tries] of [
      [BATCH | 4, 9],
      [BATCH | (5 << 3), 1],
    ]) {
      const { memory, supervisor } = supervised()
      const lane = open(memory)
      for (let i = 0; i < 3; i++) stage(lane, i, 0)
      push(memory, token)
      for (let i = 0; i < tries; i++) {
        expect(memory.words[FAILED]).toBe(0)
        expect(supervisor.run(10)).toBe(BACKING_OFF)
        at(supervisor.retryAt)
      }
      expect(() => supervisor.run(10)).toThrow(
        expect.objectContaining({ code: 'ERR_DIRTYRING_CORRUPT' }),
      )
      expect(memory.words[lane.header + LANE_READ_END]).toBe(0)
    }
  })

  it('says how many keys a batch names, and how many its lane holds', () => {
    const { memory, supervisor } = supervised()
    send(open(memory), 1n, 2n, 3n)
    expect(supervisor.run(10)).toBe(IDLE)
    push(memory, BATCH | 1)
    expect(supervisor.run(10)).toBe(BACKING_OFF)
    expect(readError(memory.words)).toBe('a batch of 2 keys, where its lane holds 0')
  })

  it('C6: gives up an EVERYTHING that failed eight times, and leaves each lane to its writer', () => {
    const { memory, supervisor } = supervised()
    const lanes = [open(memory), open(memory)]
    lanes.forEach((lane, i) => stage(lane, i, 0))
    control(memory, EVERYTHING)
    failures(supervisor, 8, (kind, index) => {
      if (kind === 'store' && index === epochAt(memory.layout, 0) + SLOT_FLAGS)
        throw new Error('planted')
    })
    expect(supervisor.run(10)).toBe(IDLE)
    expect(memory.words[epochAt(memory.layout, 0) + SLOT_FLAGS]).toBe(FLAG_FAULT)
    expect(readTotal(memory.words, EVENTS)).toBe(1)
    for (const lane of lanes) {
      expect(isOwned(memory.words[lane.header + LANE_OWNER])).toBe(true)
      publish(lane)
    }
    expect(supervisor.run(10)).toBe(IDLE)
    expect(logOf(memory, 0)).toEqual([0n, 1n])
  })

  it('C6: gives up a restore that failed eight times: the open epoch says fault, and the restore is over', () => {
    const { memory, supervisor } = supervised()
    send(open(memory), 1n)
    seal(memory, 1)
    run(memory)
    memory.words[OWNER] = THREAD + 1
    restore(memory, 0, -1)
    failures(supervisor, 8, failing(memory, 1))
    expect(supervisor.run(10)).toBe(IDLE)
    expect(memory.words[epochAt(memory.layout, 1) + SLOT_FLAGS]).toBe(FLAG_FAULT)
    expect(memory.words[epochAt(memory.layout, 0) + SLOT_RESTORED]).toBe(1)
  })

  it.each([CLOSE, REAP])(
    'C6: gives up a harvest that failed eight times: the epoch says fault, and the lane is free (kind %d)',
    (kind) => {
      const { memory, supervisor } = supervised()
      const lane = open(memory)
      stage(lane, 1, 0)
      control(memory, kind, writerPayload(lane.id, lane.generation))
      failures(supervisor, 8, failing(memory))
      expect(supervisor.run(10)).toBe(IDLE)
      expect(memory.words[epochAt(memory.layout, 0) + SLOT_FLAGS]).toBe(FLAG_FAULT)
      expect(memory.words[lane.header + LANE_OWNER]).toBe(1 << THREAD_BITS)
      const next = open(memory)
      expect(next.id).toBe(lane.id)
      send(next, 5n)
      expect(supervisor.run(10)).toBe(IDLE)
      expect(logOf(memory, 0)).toEqual([5n])
    },
  )

  it('C6: gives up a batch with texts, whose room its lane gets back, and takes the texts behind it', () => {
    const { memory, supervisor } = supervised({ maxStringsPerEpoch: 8, laneTextBytes: 256 })
    const lane = open(memory)
    for (let lap = 1; lap <= 5; lap++) {
      stageKeys(lane, `lost ${lap}`, lap, `too ${lap}`)
      expect(publish(lane)).toBe(true)
      failures(supervisor, 8, failing(memory))
      expect(supervisor.run(10)).toBe(IDLE)
      expect(picture(memory).lanes[0]).toMatchObject({ textRead: lane.textEnd })
    }
    stageKeys(lane, 'kept', 7)
    expect(publish(lane)).toBe(true)
    expect(supervisor.run(10)).toBe(IDLE)
    expect(logOf(memory, 0)).toEqual([7n])
    expect(textsIn(memory, 0)).toEqual(['kept'])
  })

  it.each([
    ['a text', ['lost', 1, 'too']],
    ['no text', [1, 2]],
  ])('C6: gives up a batch of %s that failed for a predecessor', (_, keys) => {
    const { memory, supervisor } = supervised({ maxStringsPerEpoch: 8, laneTextBytes: 256 })
    const { words } = memory
    const lane = open(memory)
    stageKeys(lane, 'before')
    publish(lane)
    run(memory)
    stageKeys(lane, ...keys)
    publish(lane)
    words[FAILED_AT] = words[HEAD] + 1
    words[FAILURES] = 8
    words[OWNER] = THREAD + 1
    expect(supervisor.run(10)).toBe(IDLE)
    expect(words[lane.header + LANE_TEXT_READ]).toBe(lane.textEnd)
    stageKeys(lane, 'kept')
    publish(lane)
    expect(supervisor.run(10)).toBe(IDLE)
    expect([logOf(memory, 0), textsIn(memory, 0)]).toEqual([[], ['before', 'kept']])
  })

  it.each<[string, place: number, value: number]>([
    ['has a length that cannot be', HEAD_AT, -1],
    ['names the key before it', 3, 1],
  ])(
    'C6: gives up a batch with an entry that %s, and each later epoch of the lane says fault',
    (_, place, value) => {
      const { memory, supervisor } = supervised({ maxStringsPerEpoch: 8 })
      const { words, layout } = memory
      const lane = open(memory)
      stageKeys(lane, 'a', 'b')
      words[lane.header + layout.laneText + place] = value
      publish(lane)
      words[FAILED_AT] = words[HEAD] + 1
      words[FAILURES] = 8
      expect(supervisor.run(10)).toBe(IDLE)
      seal(memory, 1)
      stageKeys(lane, 'c')
      publish(lane)
      expect(supervisor.run(10)).toBe(IDLE)
      const flags = [0, 1].map((slot) => words[epochAt(layout, slot) + SLOT_FLAGS])
      expect(flags).toEqual([FLAG_FAULT, FLAG_FAULT])
    },
  )

  it('C6: gives up a harvest with texts, and the lane is free for those of its next owner', () => {
    const { memory, supervisor } = supervised({ maxStringsPerEpoch: 8, laneTextBytes: 256 })
    const lane = open(memory)
    stageKeys(lane, 'lost', 1)
    control(memory, REAP, writerPayload(lane.id, lane.generation))
    failures(supervisor, 8, failing(memory))
    expect(supervisor.run(10)).toBe(IDLE)
    const next = open(memory)
    expect(next.id).toBe(lane.id)
    stageKeys(next, 'kept')
    expect(publish(next)).toBe(true)
    expect(supervisor.run(10)).toBe(IDLE)
    expect(textsIn(memory, 0)).toEqual(['kept'])
  })

  it('ends at a token of no known kind, and at one that names a writer or a slot that does not exist', () => {
    for (const token of [
      controlToken(12 as ControlKind, 5),
      controlToken(REAP, writerPayload(77, 0)),
      controlToken(RESTORE, epochPayload(9, 0)),
    ]) {
      const { memory, supervisor } = supervised()
      push(memory, token)
      expect(supervisor.run(10)).toBe(BACKING_OFF)
      at(supervisor.retryAt)
      expect(() => supervisor.run(10)).toThrow(
        expect.objectContaining({ code: 'ERR_DIRTYRING_CORRUPT' }),
      )
    }
  })

  it('gives up five batches that fail for good within 1.3 s each, because the waits begin anew with each', () => {
    const { memory, supervisor } = supervised()
    const [one, two] = [open(memory), open(memory)]
    // of two writers in turn: no run
    for (let id = 0; id < 5; id++) send(id % 2 === 0 ? one : two, BigInt(id))
    const from = now
    const waits: number[] = []
    for (let result = BACKING_OFF; result === BACKING_OFF;) {
      result = watchAccesses(failing(memory), () => supervisor.run(10))
      if (result !== BACKING_OFF) break
      waits.push(supervisor.retryAt - now)
      at(supervisor.retryAt)
    }
    expect(waits).toEqual(
      Array.from({ length: 5 }, () => [10, 20, 40, 80, 160, 320, 640, 10]).flat(),
    )
    expect(now - from).toBe(6400)
    expect(memory.words[epochAt(memory.layout, 0) + SLOT_FLAGS]).toBe(FLAG_FAULT)
    expect([one, two].map(({ header }) => memory.words[header + LANE_READ_END])).toEqual([3, 2])
  })

  it('never skips a SEAL: it fails for good, and says so', () => {
    const { memory, supervisor } = supervised()
    send(open(memory), 1n)
    seal(memory, 1)
    const cannot: OnAccess = (kind, index) => {
      if (kind === 'store' && index === CUR) throw new Error('planted')
    }
    failures(supervisor, 7, cannot)
    expect(memory.words[FAILED]).toBe(0)
    expect(watchAccesses(cannot, () => supervisor.run(10))).toBe(BACKING_OFF)
    at(supervisor.retryAt)
    expect(memory.words[FAILED]).not.toBe(0)
    expect(() => supervisor.run(10)).toThrow(
      expect.objectContaining({ code: 'ERR_DIRTYRING_AGGREGATOR_FAILED' }),
    )
    expect(memory.words[HEAD]).toBe(1)
    expect(logOf(memory, 0)).toEqual([1n])
  })

  it('wakes the tracker when it ends because FAILED is set', () => {
    const { memory, supervisor } = supervised()
    memory.words[FAILED] = 1
    const before = memory.words[SIGNAL]
    expect(() => supervisor.run(10)).toThrow(
      expect.objectContaining({ code: 'ERR_DIRTYRING_CORRUPT' }),
    )
    expect(memory.words[SIGNAL]).not.toBe(before)
  })

  it('does not skip a SEAL or a STOP for what failed before they came', () => {
    for (const kind of [SEAL, STOP]) {
      const { memory, supervisor } = supervised()
      const lane = open(memory)
      send(lane, 1n)
      expect(supervisor.run(10)).toBe(IDLE)
      // The ring is empty, and something else goes wrong, again and again.
      failures(supervisor, 8, (kind, index) => {
        if (kind === 'store' && index === ITERATIONS) throw new Error('planted')
      })
      if (kind === SEAL) seal(memory, 1)
      else control(memory, STOP)
      send(lane, 2n)
      expect(supervisor.run(20)).toBe(kind === SEAL ? IDLE : FINISHED_ALL)
      expect(kind === SEAL ? logOf(memory, 1) : logOf(memory, 0)).toEqual(
        kind === SEAL ? [2n] : [1n, 2n],
      )
    }
  })

  it('C6: does not give up a batch for what failed before it came', () => {
    const { memory, supervisor } = supervised()
    failures(supervisor, 8, (kind, index) => {
      if (kind === 'store' && index === ITERATIONS) throw new Error('planted')
    })
    send(open(memory), 2n)
    expect(supervisor.run(20)).toBe(IDLE)
    const epoch = {
      keys: logOf(memory, 0),
      flags: memory.words[epochAt(memory.layout, 0) + SLOT_FLAGS],
    }
    // Either it is in, or the epoch says that something is not.
    expect([
      { keys: [2n], flags: 0 },
      { keys: [], flags: FLAG_FAULT },
    ]).toContainEqual(epoch)
  })

  it('goes no further than a word that no thread writes, and says so', () => {
    const { memory, supervisor } = supervised()
    const lane = open(memory)
    send(lane, 1n)
    send(lane, 2n)
    memory.words[memory.layout.ring + 1] = -5
    expect(supervisor.run(10)).toBe(BACKING_OFF)
    at(supervisor.retryAt)
    expect(() => supervisor.run(10)).toThrow(
      expect.objectContaining({ code: 'ERR_DIRTYRING_CORRUPT' }),
    )
    expect(() => supervisor.run(10)).toThrow('ring position 1 holds -5')
    expect(memory.words[HEAD]).toBe(1)
    expect(memory.words[memory.layout.ring + 1]).toBe(-5)
  })

  it('C12: the keys of a batch that was given up still count as marked', () => {
    const { memory, supervisor } = supervised()
    const lane = open(memory)
    send(lane, 1n, 2n)
    failures(supervisor, 8, failing(memory))
    expect(supervisor.run(10)).toBe(IDLE)
    expect(readTotal(memory.words, lane.header + LANE_DELIVERED)).toBe(
      memory.words[lane.header + LANE_STAGED_END],
    )
  })

  it('poisons its last lap with the words that the next start looks for', () => {
    const { memory, supervisor } = supervised({ capacity: 4 })
    control(memory, STOP)
    expect(supervisor.run(20)).toBe(FINISHED_ALL)
    const poison = fullWord(0, controlToken(POISON, 0))
    expect([...memory.words.subarray(memory.layout.ring, memory.layout.ring + 4)]).toEqual([
      fullWord(0, controlToken(STOP, 0)),
      poison,
      poison,
      poison,
    ])
    expect(lapOf(memory.words[HEAD], 2)).toBe(1)
  })

  it('handles as many tokens as it is asked to, and does the chores when none is left', () => {
    const { memory, supervisor } = supervised()
    const { words } = memory
    for (let i = 0; i < 5; i++) control(memory, NOP)
    words[LISTENING] = 1
    expect([supervisor.run(2), words[HEAD], words[LISTENING]]).toEqual([WORKED, 2, 1])
    expect([supervisor.run(3), words[HEAD], words[LISTENING]]).toEqual([WORKED, 5, 1])
    expect([supervisor.run(1), words[HEAD], words[LISTENING]]).toEqual([IDLE, 5, 0])
  })

  it('counts the failures of a merge for the merge, and those before and behind it for the token', () => {
    const { memory, supervisor } = supervised({ maxConsumers: 2, epochSlots: 6 })
    const { words, layout } = memory
    const lane = open(memory)
    send(lane, 1n)
    storePlan(words, 0, { merges: [mergeWord(0, 2, true, -1)], own: 0 })
    seal(memory, 1)
    expect(supervisor.run(1)).toBe(WORKED)
    const counts = () => [words[JOB_FAILURES], words[FAILED_AT] === 0 ? 0 : words[FAILURES]]
    failures(supervisor, 1, failing(memory, 2))
    expect(counts()).toEqual([1, 0])
    failures(supervisor, 1, (kind, index) => {
      if (kind === 'store' && index === laneAt(layout, 0) + LANE_WAKE) throw new Error('planted')
    })
    expect(counts()).toEqual([1, 1])
    expect(supervisor.run(10)).toBe(IDLE)
    expect([logOf(memory, 2), counts()]).toEqual([[1n], [0, 1]])
    send(lane, 2n) // at the same position
    failures(supervisor, 1, failing(memory, 1))
    expect(counts()).toEqual([0, 2])
  })

  it('forgets the failures of a token once that is handled', () => {
    const { memory, supervisor } = supervised()
    send(open(memory), 1n)
    failures(supervisor, 3, failing(memory))
    expect([memory.words[FAILED_AT], memory.words[FAILURES]]).toEqual([1, 3])
    expect(supervisor.run(10)).toBe(IDLE)
    expect(memory.words[FAILED_AT]).toBe(0)
  })

  it('C6: does not give up a token for the failures of another one', () => {
    const { memory, supervisor } = supervised()
    memory.words[FAILED_AT] = 5
    memory.words[FAILURES] = 8
    send(open(memory), 1n)
    expect(supervisor.run(10)).toBe(IDLE)
    expect(logOf(memory, 0)).toEqual([1n])
    expect(memory.words[epochAt(memory.layout, 0) + SLOT_FLAGS]).toBe(0)
  })

  it('ends when a STOP has failed eight times, and says so', () => {
    const { memory, supervisor } = supervised()
    control(memory, STOP)
    const cannot: OnAccess = (kind, index) => {
      if (kind === 'store' && index === STOPPED) throw new Error('planted')
    }
    failures(supervisor, 7, cannot)
    expect(watchAccesses(cannot, () => supervisor.run(10))).toBe(BACKING_OFF)
    expect(() => supervisor.run(10)).toThrow(
      expect.objectContaining({
        code: 'ERR_DIRTYRING_AGGREGATOR_FAILED',
        message: 'the aggregator cannot continue: planted',
      }),
    )
  })
})
