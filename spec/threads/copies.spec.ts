import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { range } from '../support/in-process.js'
import { pack, projectWith } from '../support/packed.mjs'
import { runProgram } from '../support/program.js'

const scratch = mkdtempSync(join(tmpdir(), 'dirtyring-copies-'))
const [first, second] = [join(scratch, 'first'), join(scratch, 'second')]

beforeAll(() => {
  const tarball = pack(scratch)
  for (const folder of [first, second]) projectWith(folder, tarball)
})

afterAll(() => rmSync(scratch, { recursive: true, force: true }))

describe('two installations of the package in one process', () => {
  it('mark for the trackers of each other, on one thread and on several, and mix no keys', async () => {
    expect(await runProgram('copies', { case: 'together', first, second })).toEqual({
      isTwo: true,
      first: [1, 2, 11, 12],
      second: [3, 4, 5, 13, 14],
    })
  })

  it('or eleven, cause no warning of an emitter with too many listeners', async () => {
    const folders = range(0, 11).map((i) => join(scratch, `copy-${i}`))
    for (const folder of folders) cpSync(first, folder, { recursive: true })

    expect(await runProgram('copies', { case: 'many', folders })).toEqual({
      isAnother: 11,
      ids: range(0, 11).map((i) => (i === 0 ? [0, 1] : [i + 1])),
      warnings: [],
    })
  })

  it('of two memory layouts refuse the memory of each other, and name both versions', async () => {
    const { versions, codes, messages, taken } = await runProgram('copies', {
      case: 'layouts',
      first,
      second,
    })

    expect(Object.keys(codes)).toHaveLength(4)
    for (const code of Object.values(codes)) expect(code).toBe('ERR_DIRTYRING_VERSION')
    for (const [title, message] of Object.entries<string>(messages)) {
      const [old, young]: [number, number] = title.endsWith('tracker')
        ? versions.tracker
        : versions.dictionary
      expect(young).toBe(old + 1)
      const [own, theirs] = title.startsWith('new') ? [young, old] : [old, young]
      expect(message).toContain(
        `version ${own}, got ${theirs}. Two versions of dirtyring are loaded`,
      )
    }
    expect(taken).toEqual([[1], [2]])
  })
})
