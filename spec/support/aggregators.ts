import { recover, takeRole } from '../../lib/aggregator/state.js'
import { LOST_ROLE, step, WORKED } from '../../lib/aggregator/step.js'
import { OWNER } from '../../lib/memory/map.js'
import type { Memory } from '../../lib/memory/memory.js'
import { type Lane, openLane, publish, stage, stageMany, stageText } from '../../lib/ring/lane.js'
import { push } from '../../lib/ring/ring.js'
import type { ControlKind } from '../../lib/ring/token.js'
import {
  controlToken,
  epochOfCur,
  epochPayload,
  readCur,
  RESTORE,
  SEAL,
} from '../../lib/ring/token.js'
import { lanesOf, noClock } from './steps.js'
import { encoded } from './text-sets.js'

export const THREAD = 3

export function open(memory: Memory, threadId = 9): Lane {
  const lane = openLane(memory, threadId, memory.layout.laneCapacity, noClock)
  if (typeof lane === 'string') throw new Error(lane)
  return lane
}

export function send(lane: Lane, ...keys: bigint[]): void {
  if (!stageMany(lane, lanesOf(keys), keys.length) || !publish(lane)) throw new Error('no room')
}

/** Stages keys one by one, numbers and texts, and publishes none by itself. */
export function stageKeys(lane: Lane, ...keys: (number | string)[]): void {
  for (const key of keys) {
    if (!(typeof key === 'number' ? stage(lane, key, 0) : stageOneText(lane, key)))
      throw new Error('no room')
  }
}

function stageOneText(lane: Lane, text: string): boolean {
  const { words, head } = encoded(text)
  return stageText(lane, text.length, -1, words, head) // any hash will do
}

export function control(memory: Memory, kind: number, payload = 0): void {
  if (!push(memory, controlToken(kind as ControlKind, payload))) throw new Error('the ring is full')
}

/** The open epoch, mod 2^19, as the tracker's thread knows it. */
const epochOf = ({ words }: Memory): number => epochOfCur(readCur(words))

export const seal = (memory: Memory, slot: number, ahead = 1) =>
  control(memory, SEAL, epochPayload(slot, epochOf(memory) + ahead))

export const restore = (memory: Memory, slot: number, ahead = 0) =>
  control(memory, RESTORE, epochPayload(slot, epochOf(memory) + ahead))

/** Step until there is nothing to do, on a thread that knows nothing but the memory. */
export function runToEnd(memory: Memory, raw: Memory): number {
  raw.words[OWNER] = 0
  const a = takeRole(memory, THREAD)
  recover(a)
  for (;;) {
    const result = step(a)
    if (result === LOST_ROLE) throw new Error('the role was lost')
    if (result !== WORKED) return result
  }
}

export const run = (memory: Memory): number => runToEnd(memory, memory)
