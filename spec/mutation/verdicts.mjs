/**
 * What became of each mutant. A run appends verdicts to .cache/mutation/journal.jsonl as soon as it
 * has them. Its end puts them into verdicts.json, which is committed, so that a run in another clone
 * goes on from there. `node spec/mutation/verdicts.mjs` does that for a run that was cut off.
 */
import { createHash } from 'node:crypto'
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('../..', import.meta.url))
/** Why a test that a time limit has ended counts as failed. */
export const LATE = 'a time limit'
const KEPT = `${ROOT}spec/mutation/verdicts.json`
const JOURNAL = `${ROOT}.cache/mutation/journal.jsonl`

/**
 * A verdict: `{ file, source, line, key, test?, hash?, isLate?, state?, isTriedWithAll? }`. `source` is
 * the hash of the mutant's file. `test` noticed the mutant, and `hash` is of what that test does. Where
 * no test did, `state` names an entry of `states`: the hashes of all tests there were.
 * `isTriedWithAll`: not only with the tests that seemed to be the best ones.
 */
export class Verdicts {
  /** By file, then by key. */
  #files = new Map()
  #states = new Map()

  constructor() {
    if (existsSync(KEPT)) this.#readKept(JSON.parse(readFileSync(KEPT, 'utf8')))
    if (existsSync(JOURNAL))
      // The last line may be cut off.
      for (const line of readFileSync(JOURNAL, 'utf8').split('\n').slice(0, -1))
        this.#take(JSON.parse(line))
  }

  of(file) {
    if (!this.#files.has(file)) this.#files.set(file, new Map())
    return this.#files.get(file)
  }

  /** The hashes of all tests, when a mutant was tried and survived. */
  stateOf({ state }) {
    return this.#states.get(state)
  }

  /** `hashes`: of the tests that a mutant survived; undefined if one noticed it. */
  add(verdict, hashes) {
    const state = hashes && keyOf(hashes.join())
    if (state !== undefined && !this.#states.has(state)) this.#append({ state, hashes })
    this.#append({ ...verdict, state })
  }

  #append(line) {
    this.#take(line)
    appendFileSync(JOURNAL, `${JSON.stringify(line)}\n`)
  }

  #take(line) {
    if (line.hashes !== undefined) this.#states.set(line.state, new Set(line.hashes))
    else this.of(line.file).set(line.key, line)
  }

  #readKept({ tests, states, files }) {
    for (const [state, hashes] of Object.entries(states))
      this.#take({ state, hashes: hashes.split(' ') })
    for (const [file, { source, mutants }] of Object.entries(files))
      for (const mutant of mutants) {
        const [line, key, how, index] = mutant.split(' ')
        const noticed = { test: tests[index]?.[0], hash: tests[index]?.[1], isLate: how === 'late' }
        this.#take({
          ...{ file, source, line: Number(line), key },
          ...(how.startsWith('survived')
            ? { state: index, isTriedWithAll: how === 'survived-all' }
            : noticed),
        })
      }
  }

  /** Writes what holds for the files as they are, and empties the journal. */
  keep() {
    const tests = new Map()
    const states = {}
    const kept = {}
    for (const [file, all] of [...this.#files].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const source = hashOf(file)
      const verdicts = [...all.values()]
        .filter((each) => each.source === source)
        .sort((a, b) => a.line - b.line || (a.key < b.key ? -1 : 1))
      const mutants = verdicts.map(({ line, key, test, hash, isLate, state, isTriedWithAll }) => {
        if (state !== undefined) {
          states[state] ??= [...this.#states.get(state)].join(' ')
          return `${line} ${key} survived${isTriedWithAll ? '-all' : ''} ${state}`
        }
        const id = JSON.stringify([test, hash])
        if (!tests.has(id)) tests.set(id, tests.size)
        return `${line} ${key} ${isLate ? 'late' : 'noticed'} ${tests.get(id)}`
      })
      if (mutants.length > 0) kept[file] = { source, mutants }
    }
    const all = { tests: [...tests.keys()].map((id) => JSON.parse(id)), states, files: kept }
    writeFileSync(KEPT, `${JSON.stringify(all, undefined, 1)}\n`)
    rmSync(JOURNAL, { force: true })
  }
}

/** What a mutant, or a state of the specs, is called. */
export function keyOf(text) {
  return createHash('sha256').update(text).digest('hex').slice(0, 12)
}

export function hashOf(path) {
  return existsSync(ROOT + path) ? keyOf(readFileSync(ROOT + path)) : ''
}

mkdirSync(`${ROOT}.cache/mutation`, { recursive: true })
if (process.argv[1] === fileURLToPath(import.meta.url)) new Verdicts().keep()
