import { DirtyRingError } from '../errors.js'
import type { AggregatorHost } from './aggregator-host.js'
import type { Control } from './control.js'

/**
 * Connects control with the aggregator's host. While the tracker stops, the tracker's thread does
 * the aggregator's work if no other thread will.
 */
export class Takeover {
  readonly #control: Control
  readonly #host: AggregatorHost

  constructor(control: Control, host: AggregatorHost) {
    this.#control = control
    this.#host = host
    host.onFailure = (error) => {
      if (this.#isStopping && host.isAbsent) this.ifAlone()
      else control.fail(error)
    }
    host.onRestart = (restarts, cause) => control.listeners.tell('restart', { restarts, cause })
    control.sender.onPush = () => host.pump()
    control.describeAggregator = () => host.describeWait()
    control.onPoll = () => {
      host.lookForLife(this.#isStopping)
      this.ifAlone()
    }
  }

  /**
   * Once STOP is on its way: works to the end, if no other thread runs the aggregator and none
   * will. A failure ends the stopping, and the work with it, because STOP may not have gone in.
   */
  ifAlone(): void {
    while (this.#isStopping && this.#host.isAbsent && !this.#work());
  }

  /** Before STOP: handles what is in the ring, if no other thread will. */
  beforeStop(): void {
    if (this.#host.isAbsent && this.#host.hasBacklog) this.#work()
  }

  get #isStopping(): boolean {
    return this.#control.lifecycle.phase === 'stopping'
  }

  /** Handles what is in the ring, on this thread. True when there is no more to handle for now. */
  #work(): boolean {
    try {
      const isDone = this.#host.takeOver()
      this.#control.poke()
      return isDone
    } catch (error) {
      // A thread of the user's that called runAggregator() was faster: it will come to the end.
      if ((error as DirtyRingError).code !== 'ERR_DIRTYRING_AGGREGATOR_TAKEN')
        this.#control.fail(error)
      return true
    }
  }
}
