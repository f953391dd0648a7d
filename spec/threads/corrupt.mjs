/**
 * npm run corrupt: corrupts the shared memory of trackers in the middle of random histories,
 * 100,000 times, and compares what follows with what was marked. Allowed are right answers, an
 * error with a code of the library, and an epoch with `exact: false`. Not allowed are a wrong
 * answer in an exact epoch, an error without a code, a wait without an end, a call of more than 1
 * s, and a store outside of the structure.
 *
 * Arguments: --cases N (100000), --seed N (replays one case, with all that happens in it), --from N
 * (the first seed, 1), --json.
 */
import { runCase, runCases } from './corrupt/cases.mjs'
import { UNDETECTABLE } from './corrupt/undetectable.mjs'

function argument(name, byDefault) {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? byDefault : Number(process.argv[at + 1])
}

const replay = argument('seed', undefined)
if (replay !== undefined) {
  console.log(await runCase(replay, console.log))
} else {
  const json = process.argv.includes('--json')
  const from = performance.now()
  const result = await runCases({
    cases: argument('cases', 100_000),
    from: argument('from', 1),
    onFailure: ({ seed, kind, why }) => console.error(`FAILED --seed ${seed} (${kind}): ${why}`),
  })
  const seconds = Math.round((performance.now() - from) / 1000)
  if (json) {
    console.log(JSON.stringify(result))
  } else {
    console.table(result.figures)
    console.log(`${result.cases} corrupted memories in ${seconds} s: ${result.failures} failed`)
    console.log('\nWhat cannot be detected, and how often it gave a wrong answer:')
    for (const { what, why } of UNDETECTABLE)
      console.log(`- ${what}: ${why} (${result.undetected[what] ?? 0})`)
  }
  // Trackers that cannot be stopped any more still have timers.
  process.exit(result.failures > 0 ? 1 : 0)
}
