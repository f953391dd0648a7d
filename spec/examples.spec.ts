import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, it } from '@jest/globals'
import { runProgram } from './support/program.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const guides = readdirSync(`${root}docs`).filter((name) => name.endsWith('.md') && !name.endsWith('.api.md'))
const sources = readdirSync(`${root}lib`, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'))
const documents = ['README.md', 'CONTRIBUTING.md', ...guides.map((name) => `docs/${name}`), ...sources.map((name) => `lib/${name}`)]

/** A document in which every example is wrong, and in which way. */
const planted = [
  ['```js', 'writer.mrak(1)', '```', `2: Property 'mrak' does not exist on type 'Writer'. Did you mean 'mark'?`],
  ['```js', 'writer.mark({})', '```', `6: "key" expected a whole number, a bigint, a string or a Uint8Array, got an instance of Object`],
  ['```js', 'console.log(writer.mark(1)) // false', '```', '10: says // false and prints true'],
  ['```js', 'if (writer.closed) console.log(1) // 1', '```', '14: says // 1 and prints '],
  ['```js', 'void epoch', '```', `18: Cannot find name 'epoch'. Did you mean 'Epoch'?`],
  ['```ts', `const id: number = 'one'`, '```', `22: Type 'string' is not assignable to type 'number'.`],
  ['```js', `// main.js`, `process.exit(3)`, '```', `25: ended with exit status 3`],
]

let all: any
let wrong: any
beforeAll(async () => {
  all = await runProgram('examples', { documents })
})

describe('the examples', () => {
  it('are there, and nearly all of them run', () => {
    expect(all.programs).toBeGreaterThan(60)
    expect(all.notRun).toBeLessThan(all.programs / 10)
    expect(all.comments).toBeGreaterThan(60)
  })

  it.each(documents)('%s: compile, run to their end, and print what they say', (document) => {
    expect(all.problems.filter((problem: string) => problem.startsWith(`${document}:`))).toEqual([])
  })

  it('have no other problems', () => {
    expect(all.problems).toEqual([])
  })
})
