import { readError } from '../memory/failure.js'
import {
  LANE_OWNER,
  LANE_THREAD,
  LANE_WAITING,
  LANE_WAITS,
  laneAt,
  PANICS,
  RETRYING,
} from '../memory/map.js'
import type { Memory } from '../memory/memory.js'
import { readTotal } from '../memory/total.js'
import { isOwned } from '../ring/token.js'
import { clearInterval, nowMs, setInterval, unref } from '../timers.js'
import type { Control } from './control.js'
import type { Listeners } from './events.js'

const LOOK_MS = 100
/** A wait that lasts longer is an event. */
const STALL_MS = 1000

/** Events that a look finds. The others are told as they happen. */
const POLLED = ['overflow', 'panic', 'stall'] as const

/**
 * Looks at shared memory now and then, while there is a listener for one of these events: no other
 * thread tells the tracker's thread of them. It does not keep the process alive.
 */
export class Watch {
  readonly #memory: Memory
  readonly #control: Control
  readonly #listeners: Listeners
  #timer: ReturnType<typeof setInterval> | undefined
  #panics: number
  /** Of each writer that waits: the number of the wait, when it was first seen, if it was told. */
  readonly #waits = new Map<
    number,
    { readonly wait: number; readonly since: number; told: boolean }
  >()

  constructor(memory: Memory, control: Control, listeners: Listeners) {
    this.#memory = memory
    this.#control = control
    this.#listeners = listeners
    this.#panics = Atomics.load(memory.words, PANICS)
    listeners.onChange = () => this.#change()
  }

  end(): void {
    this.look()
    this.#listeners.onChange = () => undefined
    clearInterval(this.#timer)
  }

  look(): void {
    this.#lookForPanics()
    this.#control.lookForOverflow()
    this.#control.lookForStalls(STALL_MS)
    this.#lookForWaits()
  }

  #change(): void {
    const wanted = POLLED.some((event) => this.#listeners.count(event) > 0)
    if (wanted === (this.#timer !== undefined)) return
    clearInterval(this.#timer)
    this.#timer = undefined
    if (wanted) unref((this.#timer = setInterval(() => this.look(), LOOK_MS)))
  }

  #lookForPanics(): void {
    const { words } = this.#memory
    const panics = Atomics.load(words, PANICS)
    if (panics === this.#panics) return
    this.#panics = panics
    this.#listeners.tell('panic', {
      error: new Error(readError(words)),
      panics,
      retryInMs: Atomics.load(words, RETRYING),
    })
  }

  #lookForWaits(): void {
    const { words, layout } = this.#memory
    const now = nowMs()
    for (let writerId = 0; writerId < layout.maxWriters; writerId++) {
      const lane = laneAt(layout, writerId)
      const isOpen =
        isOwned(Atomics.load(words, lane + LANE_OWNER)) &&
        Atomics.load(words, lane + LANE_THREAD) !== 0
      if (!isOpen || Atomics.load(words, lane + LANE_WAITING) === 0) {
        this.#waits.delete(writerId)
        continue
      }
      const wait = readTotal(words, lane + LANE_WAITS)
      const seen = this.#waits.get(writerId)
      if (seen?.wait !== wait) {
        this.#waits.set(writerId, { wait, since: now, told: false })
      } else if (!seen.told && now - seen.since > STALL_MS) {
        seen.told = true
        this.#listeners.tell('stall', {
          what: 'lane',
          waitedMs: now - seen.since,
          unsettled: this.#control.unsettled,
          writerId,
        })
      }
    }
  }
}
