import {
  CUR,
  HEAD,
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
 * What the aggregator does for others when it runs out of tokens, and every few tokens: wake the
 * writers that have what they wait for, tell a listening tracker, note how full the ring is. With
 * nobody waiting it is a few loads.
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
  // Others wait for these two. They are this thread's own, and right unless something else has
  // written there.
  const cur = curWord(a.epoch, a.slot)
  if (words[CUR] !== cur || words[HEAD] !== a.head) {
    Atomics.store(words, HEAD, a.head)
    Atomics.store(words, CUR, cur)
    signal(a)
  }
  const queued = distance(Atomics.load(words, TAIL), a.head)
  if (queued > words[QUEUED_PEAK]) words[QUEUED_PEAK] = queued
}

/**
 * Wake every writer there is, whatever it waits for: after a death nobody knows who was told what.
 */
export function wakeEveryWriter(a: Aggregator): void {
  for (let writer = 0; writer < a.memory.layout.maxWriters; writer++) wakeWriter(a, writer)
}

/** Tell the tracker that something it may be waiting for has happened. */
export function signal(a: Aggregator): void {
  const { words } = a
  Atomics.store(words, SIGNAL, (words[SIGNAL] + 1) | 0)
  Atomics.notify(words, SIGNAL)
}

function wakeGroup(a: Aggregator, group: number): void {
  const { words, memory } = a
  // The bits are taken before the lanes are looked at: a writer that says so later is seen the next
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
