import Sequencer from '@jest/test-sequencer'

/**
 * These take longest, the longest first. Jest starts the files first that took longest the last
 * time. In a fresh clone there is no last time, so it goes by their sizes: the checker, a small file,
 * would begin near the end, and one processor would wait for it.
 */
const LONG = [
  'spec/check/check.spec.ts',
  'spec/unit/consumers.spec.ts',
  'spec/matrix/matrix.spec.ts',
  'spec/threads/consumers.spec.ts',
  'spec/threads/apps.spec.ts',
  'spec/cluster/histories.spec.ts',
  'spec/threads/kills-under-load.spec.ts',
  'spec/threads/chaos.spec.ts',
  'spec/docs/perf.spec.ts',
  'spec/docs/packaging.spec.ts',
  'spec/threads/corrupt.spec.ts',
  'spec/docs/site.spec.ts',
  'spec/examples/programs.spec.ts',
]

export default class LongFirst extends Sequencer {
  sort(tests) {
    const sorted = super.sort(tests)
    const rank = ({ path }) => {
      const at = LONG.findIndex((name) => path.replaceAll('\\', '/').endsWith(`/${name}`))
      return at < 0 ? LONG.length : at
    }
    return sorted.toSorted((one, other) => rank(one) - rank(other))
  }
}
