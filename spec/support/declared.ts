import { fileURLToPath } from 'node:url'
import ts from 'typescript'

/**
 * A function, constructor, static or method that the package exports, one for each way to call it.
 */
export interface Declared {
  /** `Writer.mark(lo, hi)`, `new TxnBuffer(txnId, expectedKeys)`, `fingerprint(key, seed)` */
  readonly name: string
  /** `Writer`, or undefined of a function. */
  readonly owner: string | undefined
  readonly member: string
  readonly kind: 'function' | 'new' | 'static' | 'method'
  /** What its caller passes: arguments, and the options in an argument that is an option bag. */
  readonly positions: readonly {
    readonly index: number
    readonly option: string | undefined
    readonly label: string
  }[]
}

/**
 * Reads the declarations of an entry point of the built package. What the compiler calls private, and what is named
 * by a symbol and takes nothing, is left out.
 */
export function declaredFunctions(folder = ''): Declared[] {
  const entry = fileURLToPath(new URL(`../../dist/${folder}index.d.ts`, import.meta.url))
  const program = ts.createProgram([entry], {
    module: ts.ModuleKind.NodeNext,
    target: ts.ScriptTarget.ES2022,
    types: [],
  })
  const checker = program.getTypeChecker()
  const found: Declared[] = []

  const add = (
    kind: Declared['kind'],
    owner: string | undefined,
    member: string,
    signatures: readonly ts.Signature[],
  ): void => {
    for (const signature of signatures) {
      const { parameters } = signature
      const names = parameters.map((parameter) => parameter.name).join(', ')
      const path = [
        ...(owner === undefined ? [] : [owner]),
        ...(kind === 'new' ? [] : [member]),
      ].join('.')
      const positions = parameters.flatMap((parameter, index) => [
        { index, option: undefined, label: parameter.name },
        ...optionsOf(parameter).map((option) => ({
          index,
          option,
          label: `${parameter.name}.${option}`,
        })),
      ])
      found.push({
        name: `${kind === 'new' ? 'new ' : ''}${path}(${names})`,
        owner,
        member,
        kind,
        positions,
      })
    }
  }

  const optionsOf = (parameter: ts.Symbol): string[] => {
    if (parameter.name !== 'options' && parameter.name !== 'limits') return []
    const type = checker.getNonNullableType(checker.getTypeOfSymbol(parameter))
    return checker.getPropertiesOfType(type).map((option) => option.name)
  }

  const callsOf = (symbol: ts.Symbol): readonly ts.Signature[] =>
    checker.getSignaturesOfType(checker.getTypeOfSymbol(symbol), ts.SignatureKind.Call)
  const isPublic = (symbol: ts.Symbol): boolean =>
    !symbol.name.startsWith('#') &&
    (symbol.declarations ?? []).every(
      (each) =>
        (ts.getCombinedModifierFlags(each) &
          (ts.ModifierFlags.Private | ts.ModifierFlags.Protected)) ===
        0,
    )

  const source = program.getSourceFile(entry)!
  for (const exported of checker.getExportsOfModule(checker.getSymbolAtLocation(source)!)) {
    const symbol =
      (exported.flags & ts.SymbolFlags.Alias) === 0 ? exported : checker.getAliasedSymbol(exported)
    if ((symbol.flags & ts.SymbolFlags.Function) !== 0)
      add('function', undefined, symbol.name, callsOf(symbol))
    if ((symbol.flags & ts.SymbolFlags.Class) === 0) continue
    const constructors = (
      symbol.members?.get(ts.InternalSymbolName.Constructor)?.declarations ?? []
    ).filter(
      (each) => (ts.getCombinedModifierFlags(each) & ts.ModifierFlags.Private) === 0,
    ) as ts.ConstructorDeclaration[]
    add(
      'new',
      symbol.name,
      'constructor',
      constructors.map((each) => checker.getSignatureFromDeclaration(each)!),
    )
    for (const member of checker.getPropertiesOfType(checker.getTypeOfSymbol(symbol)))
      if (member.name !== 'prototype' && isPublic(member))
        add('static', symbol.name, member.name, callsOf(member))
    for (const member of checker.getPropertiesOfType(checker.getDeclaredTypeOfSymbol(symbol)))
      if (isPublic(member)) add('method', symbol.name, member.name, callsOf(member))
  }
  return found.filter(({ member, positions }) => positions.length > 0 || !member.startsWith('__@'))
}
