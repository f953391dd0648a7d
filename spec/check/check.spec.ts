import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, test } from '@jest/globals'

/** What spec/check/quick.mjs says of a scenario. */
interface Verdict {
  name: string
  complete: boolean
  bounds?: { preemptions: number; deaths: number; throws: number; together?: number }
  executions: number
  walks: number
  ends: number
  failure?: { kind: string; message: string; schedule: string }
  known?: string
}

/** Run a script of spec/check in a process of its own; its lines of JSON. */
function run(script: string, ...args: (string | number)[]): Promise<any[]> {
  const path = fileURLToPath(new URL(`./${script}`, import.meta.url))
  const { NODE_OPTIONS: _, ...env } = process.env
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [path, ...args.map(String)], {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    child.on('error', reject)
    child.on('close', (code) => {
      if (code !== 0) reject(new Error(`${script} ended with ${code}\n${stdout}\n${stderr}`))
      else
        resolve(
          stdout
            .split('\n')
            .filter(Boolean)
            .map((line) => JSON.parse(line) as unknown),
        )
    })
  })
}

describe('the shipped source under every schedule within bounds', () => {
  let verdicts: Verdict[] = []

  beforeAll(async () => {
    verdicts = (await Promise.all([run('quick.mjs', 0, 2), run('quick.mjs', 1, 2)])).flat()
  }, 600_000)

  test('no scenario fails: nothing lost, nothing invented, no thread blocked, no race that is not listed (C1 to C4, C6 to C10, C12)', () => {
    const failures = verdicts.filter(
      ({ failure, known }) => failure !== undefined && failure.kind !== known,
    )
    expect(
      failures.map(({ name, failure }) => `${name}: ${failure!.message}: ${failure!.schedule}`),
    ).toEqual([])
  })

  test('the small scenarios were gone through to their end, with a death at every step', () => {
    const small = verdicts.filter(
      ({ bounds, failure }) => bounds !== undefined && failure === undefined,
    )
    expect(small.filter(({ complete }) => !complete).map(({ name }) => name)).toEqual([])
    const full = small.filter(
      ({ bounds: { preemptions, deaths, together } = { preemptions: 0, deaths: 0 } }) =>
        preemptions >= 2 && deaths >= 1 && together === undefined,
    )
    expect(full.length).toBeGreaterThanOrEqual(15)
  })

  test('the larger ones are cut off: a seeded slice of each was run', () => {
    const large = verdicts.filter(
      ({ bounds, known }) => bounds === undefined && known === undefined,
    )
    expect(large.every(({ complete, walks }) => !complete && walks >= 250)).toBe(true)
    console.log(table(verdicts))
  })
})

describe('the checker itself', () => {
  let findings: any

  beforeAll(async () => {
    findings = (await run('selfcheck.mjs'))[0]
  }, 120_000)

  test('an access that it cannot stop at is refused, with its file and line', () => {
    for (const { why, problems, expected } of findings.refusals as {
      why: string
      problems: string[]
      expected: string
    }[]) {
      expect({ why, problems }).toEqual({ why, problems: [expect.stringContaining(expected)] })
    }
    expect(findings.refusals.length).toBeGreaterThanOrEqual(15)
  })

  test('leaving out executions leaves out no end: with and without, the same states are reached', () => {
    for (const { name, reduced, unreduced } of findings.reductions as {
      name: string
      reduced: string[]
      unreduced: string[]
    }[]) {
      expect({ name, ends: reduced }).toEqual({ name, ends: unreduced })
    }
    expect(findings.reductions.length).toBeGreaterThanOrEqual(4)
  })

  test('a failure replays from its schedule, with a trace that names thread, line, word and value', () => {
    expect(findings.replay.again).toEqual(findings.replay.message)
    expect(findings.replay.trace).toContainEqual(
      expect.stringMatching(
        /^writer[AB] +lib\/ring\/lane\.ts:\d+ +compareExchange slot\[\d\]: \d+ → \d+: done$/,
      ),
    )
  })

  test('a race is found, a listed one gives every value that was not overwritten, and both ends of it are seen', () => {
    expect(findings.race.kind).toBe('race')
    expect(findings.stale.values).toEqual([0, 1, 2])
  })
})

function table(verdicts: Verdict[]): string {
  const lines = verdicts.map(({ name, complete, bounds, executions, ends }) => {
    const how = complete
      ? `complete at ${bounds!.preemptions} preemptions, ${bounds!.deaths} deaths, ${bounds!.throws} exceptions, ${bounds!.together ?? 'all'} together`
      : 'cut off'
    return `${name.padEnd(90)} ${how.padEnd(50)} ${String(executions).padStart(7)} executions, ${ends} ends`
  })
  return lines.join('\n')
}
