/** @type {import('jest').Config} */
export default {
  testEnvironment: 'node',
  testMatch: ['<rootDir>/spec/**/*.spec.ts'],
  testTimeout: 60_000,
  maxWorkers: 2,
  testSequencer: '<rootDir>/spec/support/sequencer.js',
  globalSetup: '<rootDir>/spec/support/global-setup.js',
  extensionsToTreatAsEsm: ['.ts'],
  // isolatedModules in tsconfig.json makes this transpile only: tsc and eslint check the types.
  transform: { '^.+\\.ts$': ['ts-jest', { useESM: true, tsconfig: '<rootDir>/tsconfig.json' }] },
  moduleNameMapper: {
    // The build makes it, and lib/ has only its declaration.
    '/aggregator/carried\\.js$': '<rootDir>/dist/aggregator/carried.js',
    '^(\\.{1,2}/.*)\\.js$': '$1',
  },
  modulePathIgnorePatterns: ['<rootDir>/dist/', '<rootDir>/.cache/'],
  collectCoverageFrom: [
    'lib/**/*.ts',
    '!lib/{cli,demo}/**',
    '!lib/platform/**',
    '!lib/aggregator/{alone,thread-error,worker}.ts',
    // AssemblyScript: it runs as the WebAssembly that it compiles to.
    '!lib/set/native/kernel.as.ts',
  ],
  coverageReporters: ['text-summary'],
  // A little below what all specs together reach in this process. Programs that run the built
  // package in processes of their own are not counted, so the rest is not untested.
  coverageThreshold: { global: { statements: 96, branches: 92, functions: 95, lines: 97 } },
}
