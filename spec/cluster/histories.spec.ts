import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from '@jest/globals'

const PROGRAM = fileURLToPath(new URL('./histories.mjs', import.meta.url))
const HISTORIES = 20_000

/** In a process of its own: there the sources run as they are, and Jest counts no lines. */
async function run(...args: string[]): Promise<any[]> {
  const { stdout } = await promisify(execFile)(process.execPath, [PROGRAM, ...args])
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
}

describe('a cluster over a log that goes wrong', () => {
  it('ends with copies that equal the store, and costs nothing where nothing is lost', async () => {
    const [{ failures, sums }] = await run('1', String(HISTORIES + 1))
    expect(failures).toEqual([])
    const happened = [
      ...['lostBefore', 'lostAfter', 'late', 'dropped', 'repeated', 'reordered', 'away'],
      ...['cutLost', 'cutRepeated', 'trim', 'forgetTail', 'lose', 'makeAnew', 'restore'],
      ...['birth', 'death', 'pause', 'clone', 'resume', 'outage', 'too large'],
      ...['restart', 'reader away', 'cut'],
    ]
    for (const what of happened)
      expect({ what, often: sums[what] > 100 }).toMatchObject({ often: true })
    // What no rule can save: all messages of an instance are lost before a reader has one of them.
    expect(sums.excused).toBeLessThan(HISTORIES / 100)
  }, 300_000)

  it('finds every rule that is switched off', async () => {
    const found = await run('mutants')
    expect(found.filter((each) => each.found === undefined)).toEqual([])
    expect(found.length).toBeGreaterThanOrEqual(20)
  }, 300_000)
})
