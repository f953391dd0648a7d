import { fileURLToPath } from 'node:url'
import { expect, it } from '@jest/globals'
import { run } from '../support/packed.mjs'
import shared from './project/shared/cases.cjs'

it('a project that installs the package passes its cases in Jest and in node:test', () => {
  const script = fileURLToPath(new URL('run.mjs', import.meta.url))
  const { status, stdout, stderr } = run(process.execPath, [script, '{"isShort":true}'])
  if (status !== 0) throw new Error(stdout + stderr)
  const titles = Object.keys(shared.cases)
  const fakeTimers = 'fake timers stop nothing'

  expect(titles.length).toBeGreaterThan(4)
  expect(JSON.parse(stdout)).toEqual({
    'Jest, modules': { passed: [...titles, fakeTimers] },
    'node:test, import': { passed: [...titles, fakeTimers] },
    'node:test, require': { passed: titles },
  })
})
