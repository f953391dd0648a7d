/** What is mutated. A part is a run of Stryker of its own. */
export const PARTS = {
  aggregator: ['lib/aggregator/*.ts'],
  memory: ['lib/{dictionary,memory,ring,set,text}/**/*.ts'],
  threads: ['lib/{platform,writer}/*.ts'],
  tracker: ['lib/{epochs,tracker}/**/*.ts'],
  whole: ['lib/*.ts'],
}
