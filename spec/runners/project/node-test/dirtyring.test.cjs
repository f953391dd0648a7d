const { test } = require('node:test')
const dirtyring = require('dirtyring')
const { cases } = require('../shared/cases.cjs')

for (const [title, run] of Object.entries(cases)) test(title, () => run(dirtyring))
