import { readFileSync, writeFileSync } from 'node:fs'
import { relative } from 'node:path'
import { commonTokens, declareFactoryPlugin, PluginKind, tokens } from '@stryker-mutator/api/plugin'
import { strykerPlugins as jestPlugins } from '@stryker-mutator/jest-runner'

/**
 * In the sandbox: what the first run found of each test. Each runner is a process of its own, and
 * only one of them makes the first run.
 */
const TESTS = '.mutation-tests.json'

/**
 * Stryker's runner for Jest, which loads every spec file for every mutant and runs all tests that
 * cover it. This one loads only the files that such a test is in, the quickest first, and stops at
 * the first file in which a test fails.
 */
class RunnerByFile {
  #runner
  #tests
  #files

  constructor(runner) {
    this.#runner = runner
    const { jestTestAdapter } = runner
    const run = jestTestAdapter.run.bind(jestTestAdapter)
    jestTestAdapter.run = (settings) => run({ ...settings, testFiles: this.#files })
  }

  capabilities() {
    return this.#runner.capabilities()
  }

  init() {
    return this.#runner.init()
  }

  async dryRun(options) {
    const result = await this.#runner.dryRun(options)
    if (result.status === 'complete') {
      const tests = result.tests.map(({ id, fileName, timeSpentMs }) => [
        id,
        relative(process.cwd(), fileName),
        timeSpentMs,
      ])
      writeFileSync(TESTS, JSON.stringify(tests))
    }
    return result
  }

  async mutantRun(options) {
    let nrOfTests = 0
    let result
    for (const { file, tests, longestMs } of this.#plan(options.testFilter)) {
      this.#files = [file]
      this.#runner.jestConfig.testTimeout = 2000 + 5 * longestMs
      result = await this.#runner.mutantRun({ ...options, testFilter: tests })
      nrOfTests += result.nrOfTests ?? 0
      if (result.status !== 'survived')
        return { ...result, ...(result.nrOfTests === undefined ? {} : { nrOfTests }) }
    }
    return { ...result, nrOfTests }
  }

  /** The files to run, and the tests of each. */
  #plan(testFilter) {
    this.#tests ??= JSON.parse(readFileSync(TESTS, 'utf8'))
    const wanted = testFilter === undefined ? undefined : new Set(testFilter)
    const plan = new Map()
    for (const [id, file, ms] of this.#tests) {
      if (wanted !== undefined && !wanted.has(id)) continue
      const entry = plan.get(file) ?? { file, tests: [], totalMs: 0, longestMs: 0 }
      plan.set(file, entry)
      entry.tests.push(id)
      entry.totalMs += ms
      entry.longestMs = Math.max(entry.longestMs, ms)
    }
    return [...plan.values()].sort((a, b) => a.totalMs - b.totalMs)
  }
}

function byFile(injector) {
  return new RunnerByFile(jestPlugins[0].factory(injector))
}
byFile.inject = tokens(commonTokens.injector)

export const strykerPlugins = [declareFactoryPlugin(PluginKind.TestRunner, 'jest-by-file', byFile)]
