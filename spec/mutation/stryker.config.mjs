import { GROUPS } from './groups.mjs'

const group = process.env.MUTATION_GROUP
const cache = `.cache/mutation/${group}`

/** One group's run; run.mjs says which. */
export default {
  mutate: GROUPS[group].mutate,
  testRunner: 'jest-by-file',
  plugins: ['@stryker-mutator/jest-runner', './spec/mutation/runner.mjs'],
  testRunnerNodeArgs: ['--experimental-vm-modules'],
  jest: {
    projectType: 'custom',
    configFile: 'spec/mutation/jest.config.js',
    enableFindRelatedTests: false,
  },
  coverageAnalysis: 'perTest',
  // What runs once, when a module is loaded, would need every test for every mutant.
  ignoreStatic: true,
  // ts-jest does not check types here.
  disableTypeChecks: false,
  incremental: true,
  incrementalFile: `${cache}/incremental.json`,
  tempDirName: `${cache}/sandbox`,
  ignorePatterns: ['coverage', 'docs', 'perf', 'spec/check', 'spec/threads/apps', '.ci'],
  reporters: ['html', 'json', 'dots'],
  htmlReporter: { fileName: `${cache}/report.html` },
  jsonReporter: { fileName: `${cache}/report.json` },
  concurrency: 2,
  // A mutant's code that never ends leaves its process in disorder.
  maxTestRunnerReuse: 200,
  // Most endless loops end by themselves: Stryker stops a mutant that runs a hundred times as often
  // as before. The rest takes this long, and a new process.
  timeoutMS: 3000,
  timeoutFactor: 2,
  thresholds: { high: 95, low: 90, break: null },
}
