const { readFileSync } = require('node:fs')
const { TestEnvironment } = require('jest-environment-node')

/** Once a test has failed, the file's other tests are skipped: one that notices a mutant is enough. */
module.exports = class extends TestEnvironment {
  #failed = false

  constructor(config, context) {
    super(config, context)
    this.global.hasProperties = readFileSync(context.testPath, 'utf8').includes("from 'fast-check'")
  }

  handleTestEvent({ name, test }) {
    if (name === 'test_done' && test.errors.length > 0) this.#failed = true
    if (name === 'test_start' && this.#failed) test.mode = 'skip'
  }
}
