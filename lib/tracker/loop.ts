import { type AbortSignalLike, isAborted } from '../signal.js'

/** Makes an epochs() loop. It ends when `signal` aborts, and at once when return() is called. */
export function loopOver<E>(
  signal: AbortSignalLike | undefined,
  generate: (loop: Loop) => AsyncGenerator<E, void>,
): AsyncIterableIterator<E> {
  const loop = new Loop(signal)
  const epochs = generate(loop)
  const end = epochs.return.bind(epochs)
  epochs.return = (value) => {
    loop.end()
    return end(value)
  }
  return epochs
}

/**
 * An epochs() loop, from its first next() on. It is also a signal: aborted when the caller's signal
 * is, and when the caller has called return().
 */
export class Loop implements AbortSignalLike {
  /** The last epoch was yielded to it. */
  hasLast = false
  readonly #signal: AbortSignalLike | undefined
  readonly #listeners = new Set<() => void>()
  #returned = false

  constructor(signal: AbortSignalLike | undefined) {
    this.#signal = signal
  }

  get aborted(): boolean {
    return this.#returned || isAborted(this.#signal)
  }

  get reason(): unknown {
    return this.#signal?.reason
  }

  /** The caller called return(). A next() that is pending ends now, not with the next epoch. */
  end(): void {
    this.#returned = true
    for (const listener of [...this.#listeners]) listener()
  }

  addEventListener(type: 'abort', listener: () => void): void {
    this.#listeners.add(listener)
    this.#signal?.addEventListener(type, listener)
  }

  removeEventListener(type: 'abort', listener: () => void): void {
    this.#listeners.delete(listener)
    this.#signal?.removeEventListener(type, listener)
  }
}
