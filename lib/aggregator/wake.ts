import {
  CUR,
  DIRTY_WANTED,
  HEAD,
  JOB,
  LANE_WAITING,
  LANE_WAKE,
  LANE_WAKE_AT,
  laneAt,
  LISTENING,
  QUEUED_PEAK,
  SIGNAL,
  TAIL,
  WAIT_FOR_ROOM,
  WAITERS,
} from '../memory/map.js'
import { curWord, distance } from '../ring/token.js'
import type { Aggregator } from './state.js'

/**
 * What the aggregator does for other threads every few tokens, and when it runs out of tokens. It
 * wakes the writers that have what they wait for, tells a listening tracker, and notes how full the
 * ring is. If no thread waits, this costs a few loads.
 */
export function doChores(a: Aggregator): void {
  const { words, memory } = a
  a.sinceChores = 0
  for (let group = 0; group * 32 < memory.layout.maxWriters; group++) {
    if (Atomics.load(words, WAITERS + group) !== 0) wakeGroup(a, group)
  }
  if (Atomics.load(words, LISTENING) !== 0) {
    Atomics.store(words, LISTENING, 0)
    signal(a)
  }
  // Other threads wait for these three. This thread alone writes them: they differ only if other
  // code has written there.
  const cur = curWord(a.epoch, a.slot)
  if (words[CUR] !== cur || words[HEAD] !== a.head || words[JOB] !== a.job) {
    Atomics.store(words, HEAD, a.head)
    Atomics.store(words, CUR, cur)
    Atomics.store(words, JOB, a.job)
    signal(a)
  }
  const queued = distance(Atomics.load(words, TAIL), a.head)
  if (queued > words[QUEUED_PEAK]) words[QUEUED_PEAK] = queued
}

/**
 * Wakes every writer, whatever it waits for. After a death no thread knows which writers were
 * woken.
 */
export function wakeEveryWriter(a: Aggregator): void {
  for (let writer = 0; writer < a.memory.layout.maxWriters; writer++) wakeWriter(a, writer)
}

/**
 * The open epoch was clean, and is not any more: tells the tracker, if a loop of it sleeps until
 * then. Call this after the stores that say so. The tracker stores the word before it looks at
 * them. So either the tracker sees them, or this exchange sees the 1 (Dekker's handshake).
 */
export function tellDirty(a: Aggregator): void {
  if (Atomics.exchange(a.words, DIRTY_WANTED, 0) !== 0) signal(a)
}

/** Tells the tracker that something has happened that it may be waiting for. */
export function signal(a: Aggregator): void {
  const { words } = a
  Atomics.store(words, SIGNAL, (words[SIGNAL] + 1) | 0)
  Atomics.notify(words, SIGNAL)
}

function wakeGroup(a: Aggregator, group: number): void {
  const { words, memory } = a
  // Take the bits before the look at the lanes: a writer that sets its bit later is seen the next
  // time.
  let bits = Atomics.exchange(words, WAITERS + group, 0)
  let waiting = 0
  while (bits !== 0) {
    const bit = 31 - Math.clz32(bits)
    bits &= ~(1 << bit)
    const writer = group * 32 + bit
    if (writer >= memory.layout.maxWriters) continue // no lane is there, but other memory
    const header = laneAt(memory.layout, writer)
    const forRoom = Atomics.load(words, header + LANE_WAITING) === WAIT_FOR_ROOM
    const wakeAt = Atomics.load(words, header + LANE_WAKE_AT)
    if (forRoom && ((a.readEnds[writer] - wakeAt) | 0) < 0) waiting |= 1 << bit
    else wakeWriter(a, writer)
  }
  if (waiting !== 0) Atomics.or(words, WAITERS + group, waiting)
}

function wakeWriter(a: Aggregator, writer: number): void {
  const { words } = a
  const at = laneAt(a.memory.layout, writer) + LANE_WAKE
  Atomics.store(words, at, (words[at] + 1) | 0)
  Atomics.notify(words, at)
}
