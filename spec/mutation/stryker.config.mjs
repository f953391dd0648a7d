import { PARTS } from './parts.mjs'

/** run.mjs says which parts. */
const parts = process.env.MUTATION_PARTS.split(',')

export default {
  mutate: [
    ...parts.flatMap((part) => PARTS[part]),
    '!lib/**/*.d.ts',
    // They run in processes and workers of their own, in specs that run dist/.
    '!lib/platform/{address-space,aggregator-worker}.ts',
    '!lib/aggregator/{alone,thread-error,worker}.ts',
    '!lib/cluster/{conformance,encode-worker}.ts',
    // Stryker does not read AssemblyScript, and the other is compiled from it.
    '!lib/set/native/{binary,kernel.as}.ts',
  ],
  testRunner: 'in-process',
  plugins: ['./spec/mutation/runner.mjs'],
  coverageAnalysis: 'perTest',
  // What runs once, when a module is loaded, would need every test for every mutant.
  ignoreStatic: true,
  // esbuild does not check types.
  disableTypeChecks: false,
  tempDirName: '.cache/mutation/sandbox',
  ignorePatterns: ['.cache', 'coverage', 'docs', 'perf', 'site', 'examples', 'spec/check', '.ci'],
  reporters: ['json', 'dots'],
  jsonReporter: { fileName: '.cache/mutation/report.json' },
  concurrency: Number(process.env.MUTATION_PROCESSES ?? 2),
  // The runner has a limit for each test. This one is for a runner that does not answer.
  timeoutMS: 300_000,
  dryRunTimeoutMinutes: 30,
  thresholds: { high: 95, low: 90, break: null },
}
