/**
 * What is mutated, and which specs have to notice: each folder's own, of those that run lib/ in
 * this process. (Programs run dist/, in which nothing is changed.) A group is a run of Stryker of
 * its own, so that a mutant costs the time of a few files.
 */
export const GROUPS = {
  keys: {
    mutate: ['lib/{keys,fingerprint,check,errors,support}.ts'],
    specs: ['keys', 'fingerprint', 'bad-input', 'set'],
  },
  set: {
    mutate: ['lib/set/**/*.ts', '!lib/set/native/{binary,kernel.as}.ts'],
    specs: ['set', 'native'],
  },
  dictionary: { mutate: ['lib/dictionary/*.ts'], specs: ['dictionary'] },
  memory: {
    mutate: ['lib/memory/*.ts', 'lib/options.ts'],
    specs: ['lanes', 'ring', 'wraps', 'bad-input', 'aggregator'],
  },
  ring: { mutate: ['lib/ring/*.ts'], specs: ['lanes', 'ring', 'wraps', 'batches'] },
  aggregator: {
    mutate: ['lib/aggregator/*.ts', '!lib/aggregator/worker.ts'],
    specs: ['aggregator', 'faults', 'no-way-on', 'stop', 'wraps', 'unit/run', 'unit/tokens'],
  },
  writer: {
    mutate: ['lib/writer/*.ts', 'lib/platform/{node,thread}.ts', 'lib/timers.ts'],
    specs: [
      ...['writers', 'thread-writers', 'batches', 'signals', 'stop', 'bad-input'],
      ...['unit/writer', 'unit/txn-buffer', 'unit/waiting', 'unit/flush-clock', 'unit/thread-end'],
      ...['unit/watch-workers', 'unit/host-of-node', 'unit/thread-numbers', 'unit/timers'],
    ],
  },
  tracker: {
    mutate: ['lib/tracker/*.ts', 'lib/epochs/*.ts', 'lib/signal.ts'],
    specs: ['epochs', 'flushed', 'observing', 'signals', 'stop', 'no-way-on', 'bad-input'],
  },
}
