/**
 * What is mutated, and which specs have to notice: each folder's own, of those that run lib/ in
 * this process. (Programs run dist/, in which nothing is changed.) A group is a run of Stryker of
 * its own, so that a mutant costs the time of a few files.
 */
export const GROUPS = {
  keys: {
    mutate: [
      'lib/{keys,fingerprint,check,errors,support,byte-order,random-words}.ts',
      'lib/text/*.ts',
    ],
    specs: [
      'unit/keys',
      'unit/{errors,fingerprint,text}',
      'contract/strings',
      'contract/constructors',
      'contract/bad-{arguments,handles,keys}',
      'contract/options',
      'unit/set',
    ],
  },
  set: {
    mutate: ['lib/set/**/*.ts', '!lib/set/native/{binary,kernel.as}.ts'],
    specs: ['unit/{set,sip,text-set,filter,native}'],
  },
  dictionary: { mutate: ['lib/dictionary/*.ts'], specs: ['contract/dictionary'] },
  memory: {
    mutate: ['lib/memory/*.ts', 'lib/options.ts'],
    specs: [
      'unit/lanes',
      'unit/ring',
      'contract/wraps',
      'contract/bad-{arguments,handles,keys}',
      'contract/options',
      'unit/{aggregator,damaged-memory,supervisor}',
    ],
  },
  ring: {
    mutate: ['lib/ring/*.ts'],
    specs: [
      'unit/{lanes,ring,aggregator,supervisor}',
      'unit/{waiting,thread-end,watch-workers,host-of-node}',
      'contract/{wraps,batches,batch-ring,strings}',
      'contract/{writers,writer-lifetimes,back-pressure,thread-writers}',
    ],
  },
  aggregator: {
    mutate: ['lib/aggregator/*.ts', '!lib/aggregator/{alone,thread-error,worker}.ts'],
    specs: [
      'unit/{aggregator,damaged-memory,supervisor}',
      'faults/faults',
      'contract/given-up',
      'contract/{stop,last-epoch}',
      'contract/{wraps,strings}',
      'unit/{run,tokens}',
      'unit/text-growth',
    ],
  },
  writer: {
    mutate: [
      'lib/writer/*.ts',
      'lib/{timers,wait-async,backoff,patience}.ts',
      'lib/platform/*.ts',
      '!lib/platform/address-space.ts',
    ],
    specs: [
      'contract/{writers,writer-lifetimes,back-pressure,txn-buffer}',
      'contract/thread-writers',
      'contract/batches',
      'contract/signals',
      'contract/{stop,last-epoch}',
      'contract/bad-{arguments,handles,keys}',
      'contract/options',
      'unit/{writer,txn-buffer,waiting,flush-clock,thread-end}',
      'unit/{watch-workers,host-of-node,host-of-page,thread-numbers,timers}',
    ],
  },
  tracker: {
    mutate: ['lib/tracker/**/*.ts', 'lib/epochs/*.ts', 'lib/signal.ts'],
    specs: [
      'contract/{epochs,attach-epoch,overflow,advancing,epoch-loops}',
      'contract/flushed',
      'contract/{observing,long-waits}',
      'contract/signals',
      'contract/{stop,last-epoch}',
      'contract/given-up',
      'contract/bad-{arguments,handles,keys}',
      'contract/options',
    ],
  },
}
