/** What the programs of the chaos share. */

/** Public calls of a writer's thread. */
export const CALLS = [
  'openWriter',
  'mark an id',
  'markPair',
  'mark text',
  'mark bytes',
  'mark a fingerprint',
  'markMany',
  'markMany, not atomic',
  'markPairs',
  'batch',
  'batch in a batch',
  'tagTxn',
  'flush',
  'flushTo',
  'flushTo, not atomic',
  'waitForRoom',
  'withWriter',
  'withWriter, async',
  'close',
  'markEverything',
]

/**
 * How a writer's thread dies in a call. `terminate`: at any instant. `loop`: stopped at one of the
 * call's accesses to shared memory, and terminated there. `throw`, `exit`: in the caller's code
 * within the call (a function, a list's getter, a signal's), or, where there is none, right after
 * it. `overflow`: the stack ends in it. `heap`: V8 ends the thread for its memory.
 */
export const WAYS = ['terminate', 'loop', 'throw', 'exit', 'overflow', 'heap']
/**
 * Of an aggregator `throw` strikes between its steps. `overflow` strikes within a step, where it is
 * contained, and once more between steps.
 */
export const AGGREGATOR_WAYS = ['terminate', 'loop', 'throw', 'exit', 'overflow', 'heap']

/** Keys of one writer; of the first ones the key that is marked is a text. */
export const KEYS = 48
export const TEXTS = 8

export const textOf = (marker, key) => `writer ${marker}, key ${key}`

/** Words that a thread shares with the main thread. */
export const [ROUNDS, INSIDE, STUCK, READY, FUSE] = [0, 1, 2, 3, 4]

/**
 * Calls `hook` at every atomic access of this thread. Nothing here may call one by its usual name
 * afterwards.
 */
export const { store } = Atomics
export function hookAtomics(hook) {
  for (const name of [
    'load',
    'store',
    'compareExchange',
    'exchange',
    'add',
    'sub',
    'and',
    'or',
    'notify',
    'wait',
  ]) {
    const original = Atomics[name]
    Atomics[name] = (...given) => {
      hook()
      return original(...given)
    }
  }
}
