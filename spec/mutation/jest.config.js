import { fileURLToPath } from 'node:url'
import config from '../../jest.config.js'
import { GROUPS } from './groups.mjs'

const {
  globalSetup: _build,
  maxWorkers: _all,
  collectCoverageFrom: _from,
  coverageReporters: _how,
  coverageThreshold: _least,
  ...rest
} = config

/** @type {import('jest').Config} */
export default {
  ...rest,
  rootDir: fileURLToPath(new URL('../..', import.meta.url)),
  testMatch: GROUPS[process.env.MUTATION_GROUP].specs.map(
    (name) => `<rootDir>/spec/${name}.spec.ts`,
  ),
  setupFiles: [fileURLToPath(new URL('setup.mjs', import.meta.url))],
  testEnvironment: fileURLToPath(new URL('environment.cjs', import.meta.url)),
}
