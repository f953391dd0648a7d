import { readdirSync, readFileSync } from 'node:fs'
import { join, posix, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from '@jest/globals'
import ts from 'typescript'

const LIB = fileURLToPath(new URL('../../lib/', import.meta.url))

/**
 * The layers of lib/, lowest first: a folder with all that is in it, or one file of lib/ itself. A
 * module may import from its own layer and from those below. What is not named here (files of lib/
 * itself, and text/) is the lowest layer, which all may use.
 */
const LAYERS = [
  'platform/',
  'memory/',
  'options.ts',
  'ring/',
  'keys.ts',
  'set/',
  'dictionary/',
  'aggregator/',
  'epochs/',
  'writer/',
  'tracker/',
  'support.ts',
  'index.ts',
  'node.ts',
  'cluster/',
  'ipc/',
  'nats/',
  'redis/',
  'demo/',
  'cli/',
]

function layerOf(path: string): number {
  return LAYERS.findIndex((layer) =>
    layer.endsWith('/') ? path.startsWith(layer) : path === layer,
  )
}

interface Import {
  readonly from: string
  readonly to: string
  readonly isType: boolean
}

function textOf(file: string): string {
  return readFileSync(join(LIB, file), 'utf8')
}

/** What a file of lib/ imports or re-exports from other files of lib/. */
function importsOf(from: string): Import[] {
  const source = ts.createSourceFile(from, textOf(from), ts.ScriptTarget.ES2022)
  return source.statements.flatMap((statement) => {
    if (!ts.isImportDeclaration(statement) && !ts.isExportDeclaration(statement)) return []
    const { moduleSpecifier } = statement
    if (moduleSpecifier === undefined || !ts.isStringLiteral(moduleSpecifier)) return []
    const { text: name } = moduleSpecifier
    const isType = ts.isImportDeclaration(statement)
      ? statement.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword
      : statement.isTypeOnly
    if (!name.startsWith('.')) return []
    const to = posix.normalize(posix.join(posix.dirname(from), name.replace(/\.js$/, '.ts')))
    return [{ from, to, isType }]
  })
}

const files = readdirSync(LIB, { recursive: true, encoding: 'utf8' })
  .map((file) => file.split(sep).join('/'))
  .filter((file) => file.endsWith('.ts') && !file.endsWith('.as.ts'))
const imports = files.flatMap(importsOf)

/** The modules that are loaded for one of them. */
function loadedFor(file: string): string[] {
  const loaded = new Set([file])
  for (const from of loaded)
    for (const each of imports) if (each.from === from && !each.isType) loaded.add(each.to)
  return [...loaded]
}

describe('the layers of lib/', () => {
  it('are folders and files that exist', () => {
    const missing = LAYERS.filter((layer) => !files.some((file) => file.startsWith(layer)))
    expect(missing).toEqual([])
  })

  it('import their own layer and lower ones, types included', () => {
    const upward = imports
      .filter(({ from, to }) => layerOf(to) > layerOf(from))
      .map(({ from, to }) => `${from} imports ${to}`)
    expect(upward).toEqual([])
  })

  it('let openWriter() load neither the aggregator nor a set', () => {
    const home = files.find((file) => /^export function openWriter\b/m.test(textOf(file)))
    const loaded = loadedFor(home!)
    expect(loaded.filter((file) => /^(aggregator|set)\//.test(file))).toEqual([])
  })
})
