import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, it } from '@jest/globals'
import { runProgram } from './support/program.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const guides = readdirSync(`${root}docs`).filter((name) => name.endsWith('.md') && !name.endsWith('.api.md'))
const sources = readdirSync(`${root}lib`, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'))
const documents = ['README.md', 'CONTRIBUTING.md', ...guides.map((name) => `docs/${name}`), ...sources.map((name) => `lib/${name}`)]

/** A document in which every example is wrong, and what is to be said of each. */
const planted = [
  { what: 'a name that there is not', code: ['writer.mrak(1)'], says: "2: Property 'mrak' does not exist on type 'Writer'." },
  { what: 'a free name that is none', code: ['void sealed'], says: "2: Cannot find name 'sealed'." },
  {
    what: 'a wrong type',
    code: ["const id: number = 'one'"],
    language: 'ts',
    says: "2: Type 'string' is not assignable to type 'number'.",
  },
  { what: 'an error', code: ['throw new Error("oops")'], says: '1: Error: oops' },
  { what: 'a wrong comment', code: ['console.log(writer.mark(1)) // false'], says: '2: says // false and prints true' },
  { what: 'a comment of what is not printed', code: ['if (writer.closed) console.log(1) // 1'], says: '2: says // 1 and prints ' },
  {
    what: 'an error in another thread',
    code: ['// main.js', "import { Worker } from 'node:worker_threads'", "new Worker('throw 1', { eval: true })"],
    says: '1: ended with exit status 1',
  },
  { what: 'a file without a program', code: ['// other.js'], says: '1: other.js has no main.js before it' },
].map(({ language = 'js', code, ...rest }, i) => ({
  ...rest,
  document: `planted-${i}.md`,
  text: `\`\`\`${language}\n${code.join('\n')}\n\`\`\``,
}))

let all: any
beforeAll(async () => {
  const texts = Object.fromEntries(planted.map(({ document, text }) => [document, text]))
  all = await runProgram('examples', { documents: [...documents, ...Object.keys(texts)], texts })
})

const problemsOf = (document: string) => all.problems.filter((problem: string) => problem.startsWith(`${document}:`))

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

  it('have no problem in no document', () => {
    expect(all.problems.filter((problem: string) => ![...documents, 'planted'].some((name) => problem.startsWith(name)))).toEqual([])
  })
})
