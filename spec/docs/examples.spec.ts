import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, it } from '@jest/globals'
import { runProgram } from '../support/program.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const filesIn = (folder: string, isOne: RegExp) =>
  readdirSync(root + folder, { recursive: true, encoding: 'utf8' }).flatMap((name) =>
    isOne.test(name) ? [`${folder}/${name}`] : [],
  )

/** Those that have examples. (An .api.md is the declarations' report.) */
const documents = [
  'README.md',
  'CONTRIBUTING.md',
  ...filesIn('docs', /^[^/]*(?<!\.api)\.md$/),
  ...filesIn('lib', /\.ts$/),
].filter((document) =>
  /^[ *]*```(js|ts|javascript|typescript)\b/m.test(readFileSync(root + document, 'utf8')),
)

function fenced(info: string, ...code: string[]): string {
  return ['```' + info, ...code, '```'].join('\n')
}

/** A document in which every example is wrong, and what is to be said of each. */
const planted = [
  {
    what: 'a name that there is not',
    code: ['writer.mrak(1)'],
    says: "2: Property 'mrak' does not exist on type 'Writer'.",
  },
  {
    what: 'a free name that is none',
    code: ['void sealed'],
    says: "2: Cannot find name 'sealed'.",
  },
  {
    what: 'a wrong type',
    code: ["const id: number = 'one'"],
    language: 'ts',
    says: "2: Type 'string' is not assignable to type 'number'.",
  },
  { what: 'an error', code: ['throw new Error("oops")'], says: '1: Error: oops' },
  {
    what: 'a wrong comment',
    code: ['console.log(writer.mark(1)) // false'],
    says: '2: says // false and prints true',
  },
  {
    what: 'a comment of what is not printed',
    code: ['if (writer.closed) console.log(1) // 1'],
    says: '2: says // 1 and prints ',
  },
  {
    what: 'an error in another thread',
    code: [
      '// main.js',
      "import { Worker } from 'node:worker_threads'",
      "new Worker('throw 1', { eval: true })",
    ],
    says: '1: ended with exit status 1',
  },
  {
    what: 'an info string that is none',
    code: [''],
    language: 'js norun',
    says: '1: `js norun` is none of js, ts, with no-run',
  },
  {
    what: 'a file without a program',
    code: ['// other.js'],
    says: '1: other.js has no main.js before it',
  },
].map(({ language = 'js', code, ...rest }, i) => ({
  ...rest,
  document: `planted-${i}.md`,
  text: fenced(language, ...code),
}))

/** One that is right, but must not run. */
const unrun = {
  document: 'unrun.md',
  text: fenced('js no-run', 'writer.mark(1)', 'throw new Error("it ran")'),
}

/** For a busy machine. */
const MS_MAX = 120_000

let all: any
beforeAll(async () => {
  const texts = Object.fromEntries(
    [...planted, unrun].map(({ document, text }) => [document, text]),
  )
  all = await runProgram(
    'examples',
    { documents: [...documents, ...Object.keys(texts)], texts },
    { timeoutMs: MS_MAX },
  )
}, MS_MAX)

const problemsOf = (document: string) =>
  all.problems.filter((problem: string) => problem.startsWith(`${document}:`))

describe('examples', () => {
  it('are there, and nearly all of them run', () => {
    expect(all.ran).toBeGreaterThan(60)
    expect(all.notRun).toBeLessThan(all.ran / 10)
    expect(all.comments).toBeGreaterThan(70)
  })

  it.each(documents)('of %s compile, run to their end, and print what they say', (document) => {
    expect(problemsOf(document)).toEqual([])
  })

  it.each(planted)('with $what are found', ({ document, says }) => {
    expect(problemsOf(document).join('\n')).toContain(`${document}:${says}`)
  })

  it('that say no-run are only compiled', () => {
    expect(all.notRun).toBeGreaterThan(0)
    expect(problemsOf(unrun.document)).toEqual([])
  })

  it('have no problem that belongs to none of them', () => {
    const names = [...documents, 'planted-']
    expect(
      all.problems.filter((problem: string) => !names.some((name) => problem.startsWith(name))),
    ).toEqual([])
  })
})
