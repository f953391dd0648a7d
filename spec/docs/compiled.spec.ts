import { readdirSync, readFileSync } from 'node:fs'
import { join, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from '@jest/globals'
import ts from 'typescript'

const root = fileURLToPath(new URL('../../', import.meta.url))
const modules = readdirSync(join(root, 'dist'), { recursive: true, encoding: 'utf8' })
  .map((file) => file.split(sep).join('/'))
  // Programs, and the worker, run when they are loaded.
  .filter((file) => /\.js$/.test(file) && !/^(cli|demo)\/|worker\.js$/.test(file))

interface Compiled {
  readonly text: string
  readonly source: Readonly<Record<string, unknown>>
}
const compiled = new Map<string, Compiled>()
for (const file of modules) {
  const text = readFileSync(join(root, 'dist', file), 'utf8')
  compiled.set(file, { text, source: await import(`../../lib/${file}`) })
}

/** Each exported constant that is a number: its name, and its values in all modules. */
const values = new Map<string, Set<unknown>>()
for (const { source } of compiled.values())
  for (const [name, value] of Object.entries(source))
    if (typeof value === 'number') values.set(name, (values.get(name) ?? new Set()).add(value))

/** "32", "(-5)" */
const numberIn = (text: string): number => Number(text.replace(/[()]/g, ''))

/** The identifiers of a module that it imports or reads. */
function namesUsedIn(text: string): string[] {
  const names: string[] = []
  const visit = (node: ts.Node): void => {
    if (ts.isIdentifier(node)) {
      const { name } = node.parent as { name?: ts.Node }
      if (name !== node || ts.isImportSpecifier(node.parent)) names.push(node.text)
    }
    ts.forEachChild(node, visit)
  }
  visit(ts.createSourceFile('module.js', text, ts.ScriptTarget.ES2022, true))
  return names
}

describe('the compiled modules', () => {
  it('export each number that their sources export', () => {
    const wrong: string[] = []
    let count = 0
    for (const [file, { text, source }] of compiled) {
      for (const [name, value] of Object.entries(source)) {
        if (typeof value !== 'number') continue
        count++
        const written = new RegExp(`^export const ${name} = (.*);$`, 'm').exec(text)?.[1]
        if (numberIn(written ?? '') !== value) wrong.push(`${file}: ${name} = ${written}`)
      }
    }
    expect([wrong, count > 100]).toEqual([[], true])
  })

  it('have the number of a constant wherever they use it, and never its name', () => {
    const wrong: string[] = []
    let count = 0
    for (const [file, { text }] of compiled) {
      for (const [, number, name] of text.matchAll(/([(\d][-\d.]*\)?) \/\* ([A-Z]\w*) \*\//g)) {
        if (!values.has(name)) continue // of this module alone
        count++
        if (!values.get(name)!.has(numberIn(number))) wrong.push(`${file}: ${number} ${name}`)
      }
      for (const name of namesUsedIn(text)) if (values.has(name)) wrong.push(`${file}: ${name}`)
    }
    expect([wrong, count > 500]).toEqual([[], true])
  })
})
