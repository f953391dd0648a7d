/** What is mutated, by a name that a run can be asked for. */
export const PARTS = {
  aggregator: ['lib/aggregator/*.ts'],
  cluster: ['lib/cluster/*.ts'],
  ipc: ['lib/ipc/*.ts'],
  memory: ['lib/{dictionary,memory,ring,set,text}/**/*.ts'],
  threads: ['lib/{platform,writer}/*.ts'],
  tracker: ['lib/{epochs,tracker}/**/*.ts'],
  whole: ['lib/*.ts'],
}
