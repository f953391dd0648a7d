import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

const root = fileURLToPath(new URL('../..', import.meta.url))
const contractPath = join(root, 'spec/support/contract.d.ts')
const strictPath = join(root, 'spec/support/contract.strict.ts')
const checksPath = join(root, 'spec/support/contract.checks.ts')

const options: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2022,
  lib: ['lib.es2022.d.ts'],
  module: ts.ModuleKind.NodeNext,
  types: [],
  strict: true,
  exactOptionalPropertyTypes: true,
  skipLibCheck: true,
  noEmit: true,
}

/** What users make themselves and pass in: it may not become narrower either. */
const GIVEN = [
  'Fingerprint',
  'Key',
  'KeyKind',
  'KeyList',
  'AbortSignalLike',
  'TrackerOptions',
  'TrackerHandle',
  'EpochHandle',
  'DictionaryHandle',
  'RingHandle',
  'AdvanceOptions',
  'ConsumerOptions',
  'EpochsOptions',
  'StopOptions',
]

/** The compiler's own files are the same each time. */
const parsed = new Map<string, ts.SourceFile>()

/**
 * What the compiler says where each name of the contract is assigned the built package's: one line
 * a difference. `change` may put something else in the place of a declaration file of the package.
 */
export function differences(
  change: (path: string, text: string) => string = (_, text) => text,
): string[] {
  const contract = ts.createSourceFile(
    contractPath,
    readFileSync(contractPath, 'utf8'),
    ts.ScriptTarget.ES2022,
    true,
  )
  const written = new Map([
    [strictPath, strictForm(contract)],
    [checksPath, checksOf(contract)],
  ])
  const host = ts.createCompilerHost(options)
  const { fileExists, readFile, getSourceFile } = host
  host.fileExists = (path) => written.has(path) || fileExists(path)
  host.readFile = (path) => written.get(path) ?? readFile(path)
  host.getSourceFile = (path, version) => {
    const isOurs = written.has(path) || path.startsWith(join(root, 'dist'))
    if (!isOurs && !parsed.has(path)) parsed.set(path, getSourceFile(path, version)!)
    return (
      parsed.get(path) ??
      ts.createSourceFile(
        path,
        written.get(path) ?? withoutBrands(change(path, readFile(path)!)),
        version,
      )
    )
  }
  const program = ts.createProgram([checksPath], options, host)
  return ts.getPreEmitDiagnostics(program).map(({ file, start, messageText }) => {
    const line =
      file === undefined
        ? ''
        : file.text.slice(file.text.lastIndexOf('\n', start) + 1).split('\n', 1)[0]
    return `${line}\n  ${ts.flattenDiagnosticMessageText(messageText, '\n  ')}`
  })
}

/**
 * What the compiler says of a program that uses the built package: its messages, the first line of
 * each. `lib` may be newer than the one that the package needs.
 */
export function complaints(program: string): string[] {
  const path = join(root, 'spec/support/trial.ts')
  const host = ts.createCompilerHost(options)
  const { fileExists, readFile, getSourceFile } = host
  host.fileExists = (each) => each === path || fileExists(each)
  host.readFile = (each) => (each === path ? program : readFile(each))
  host.getSourceFile = (each, version) =>
    each === path
      ? ts.createSourceFile(each, program, version)
      : (parsed.get(each) ?? keep(each, getSourceFile(each, version)))
  const trial = ts.createProgram(
    [path],
    { ...options, lib: ['lib.es2022.d.ts', 'lib.dom.d.ts'] },
    host,
  )
  return ts
    .getPreEmitDiagnostics(trial)
    .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'))
}

function keep(path: string, file: ts.SourceFile | undefined): ts.SourceFile | undefined {
  if (file !== undefined && !path.startsWith(join(root, 'dist'))) parsed.set(path, file)
  return file
}

/** A private member makes a class a type of its own, to which nothing else can be assigned. */
function withoutBrands(text: string): string {
  return text.replace(/^\s*#private;$/gm, '')
}

/**
 * The contract with each class as an interface, and another one of its constructor and statics, and
 * with each method as a property: the compiler compares the parameters of methods in either
 * direction, and would not see that one takes less than before.
 */
function strictForm(contract: ts.SourceFile): string {
  const strict = (statement: ts.Statement) => {
    if (ts.isClassDeclaration(statement)) return strictClass(statement)
    return ts.isFunctionDeclaration(statement)
      ? statement.getText().replace('export', 'export declare')
      : statement.getText()
  }
  return [`/// <reference lib="esnext.disposable" />`, ...contract.statements.map(strict)].join(
    '\n',
  )
}

function strictClass(declared: ts.ClassDeclaration): string {
  const name = declared.name!.text
  const bases = (declared.heritageClauses ?? []).flatMap(({ types }) =>
    types.map((type) => type.getText()),
  )
  const constructors = declared.members
    .filter(ts.isConstructorDeclaration)
    .filter((member) => (ts.getCombinedModifierFlags(member) & ts.ModifierFlags.Private) === 0)
    .map((member) => `new ${parametersOf(member)}: ${name}`)
  const isStatic = (member: ts.ClassElement) =>
    ts.canHaveModifiers(member) &&
    ts.getModifiers(member)?.some(({ kind }) => kind === ts.SyntaxKind.StaticKeyword)
  return [
    `export interface ${name}${typeParametersOf(declared)}${bases.length === 0 ? '' : ` extends ${bases.join(', ')}`} {`,
    ...membersOf(declared.members.filter((member) => !isStatic(member))),
    `}`,
    `export declare const ${name}: {`,
    ...constructors,
    ...membersOf(declared.members.filter(isStatic)),
    `}`,
  ].join('\n')
}

function membersOf(members: readonly ts.ClassElement[]): string[] {
  const methods = new Map<string, string[]>()
  for (const member of members.filter(ts.isMethodDeclaration)) {
    const name = member.name.getText()
    methods.set(name, [
      ...(methods.get(name) ?? []),
      `(${parametersOf(member)} => ${member.type!.getText()})`,
    ])
  }
  const properties = members.filter(ts.isPropertyDeclaration).map((member) => member.getText())
  return [
    ...properties,
    ...[...methods].map(([name, overloads]) => `${name}: ${overloads.join(' & ')}`),
  ]
}

function parametersOf(member: ts.MethodDeclaration | ts.ConstructorDeclaration): string {
  return `${typeParametersOf(member)}(${listOf(member.parameters)})`
}

function typeParametersOf({ typeParameters }: ts.DeclarationWithTypeParameterChildren): string {
  return typeParameters === undefined ? '' : `<${listOf(typeParameters)}>`
}

function listOf(nodes: ts.NodeArray<ts.Node>): string {
  return nodes.map((node) => node.getText()).join(', ')
}

/** One assignment for each name, and for what users pass in one the other way round. */
function checksOf(contract: ts.SourceFile): string {
  const lines = [
    `import type * as built from 'dirtyring'`,
    `import type * as contract from './contract.strict.js'`,
  ]
  const check = (target: string, source: string) =>
    lines.push(`export const check${lines.length}: ${target} = null! as ${source}`)
  for (const name of contractNames(contract)) {
    const { isValue, isType, isClass } = name
    const type = `${name.text}${name.typeArguments}`
    if (isType && !isClass) check(`contract.${type}`, `built.${type}`)
    if (isClass)
      check(`Pick<contract.${name.text}, keyof contract.${name.text}>`, `built.${name.text}`)
    if (isValue) check(`typeof contract.${name.text}`, `typeof built.${name.text}`)
    if (GIVEN.includes(name.text)) check(`built.${name.text}`, `contract.${name.text}`)
  }
  return lines.join('\n')
}

interface Name {
  readonly text: string
  readonly isValue: boolean
  readonly isType: boolean
  readonly isClass: boolean
  /** Its constraints, if it cannot be named without arguments. */
  readonly typeArguments: string
}

function contractNames(contract: ts.SourceFile): Name[] {
  const names = new Map<string, Name>()
  for (const statement of contract.statements) {
    const isClass = ts.isClassDeclaration(statement)
    const isValue = isClass || ts.isFunctionDeclaration(statement)
    const isType =
      isClass || ts.isInterfaceDeclaration(statement) || ts.isTypeAliasDeclaration(statement)
    const text = (statement as ts.DeclarationStatement).name?.getText()
    if (text === undefined) continue
    const typeArguments = isType ? argumentsFor(statement) : ''
    names.set(text, { text, isValue, isType, isClass, typeArguments })
  }
  return [...names.values()]
}

function argumentsFor(declared: ts.DeclarationWithTypeParameterChildren): string {
  const parameters: readonly ts.TypeParameterDeclaration[] = declared.typeParameters ?? []
  if (parameters.every((parameter) => parameter.default !== undefined)) return ''
  const constraints = parameters.map(({ constraint }) => constraint!.getText())
  return `<${constraints.map((name) => `contract.${name}`).join(', ')}>`
}
