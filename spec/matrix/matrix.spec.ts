import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from '@jest/globals'

type Outcome = 'passed' | { failed: string } | { none: string }
interface Column {
  notRun?: string
  version?: string
  places?: Record<string, Record<string, Outcome>>
}

/** Runs the cases in one runtime, in a process of its own. */
async function columnOf(id: string): Promise<Column> {
  const script = fileURLToPath(new URL('matrix.mjs', import.meta.url))
  const { NODE_OPTIONS: _, ...env } = process.env
  const { stdout } = await promisify(execFile)(process.execPath, [script, id], { env })
  return JSON.parse(stdout.trimEnd().split('\n').at(-1)!)
}

/** The cases that failed, each with its place and the reason. */
const failures = ({ places = {} }: Column) =>
  Object.entries(places).flatMap(([place, outcomes]) =>
    Object.entries(outcomes).flatMap(([name, outcome]) =>
      typeof outcome === 'object' && 'failed' in outcome
        ? [`${place}: ${name}: ${outcome.failed}`]
        : [],
    ),
  )

describe('the cases of the matrix, on the main thread and in a worker,', () => {
  it.each([
    ['node-26', 27],
    ['chromium', 26],
  ])(
    'all pass in %s, where it is installed',
    async (id, least) => {
      const column = await columnOf(id)
      if (column.notRun !== undefined) {
        process.stderr.write(`${id}: not run: ${column.notRun}\n`)
        return
      }

      expect(failures(column)).toEqual([])
      for (const place of ['main', 'worker']) {
        const outcomes = Object.values(column.places![place])
        expect(outcomes.filter((outcome) => outcome === 'passed').length).toBeGreaterThan(least)
      }
    },
    180_000,
  )
})
