/**
 * Compiles lib/ into dist/, as `tsc -p tsconfig.build.json` does, and writes each constant that is a
 * number where it is used: node lib/compile.js
 *
 * The constants of the memory map are sums of other constants, in modules that import others.
 * Bundlers then leave each one as a variable, used or not. V8 loads it anew at each use.
 */
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

const { factory, SyntaxKind } = ts
/** What the source may compute constants with. */
const OPERATIONS = {
  [SyntaxKind.PlusToken]: (a, b) => a + b,
  [SyntaxKind.MinusToken]: (a, b) => a - b,
  [SyntaxKind.AsteriskToken]: (a, b) => a * b,
  [SyntaxKind.AsteriskAsteriskToken]: (a, b) => a ** b,
  [SyntaxKind.BarToken]: (a, b) => a | b,
  [SyntaxKind.LessThanLessThanToken]: (a, b) => a << b,
}

const root = fileURLToPath(new URL('..', import.meta.url))

const { config } = ts.readConfigFile(`${root}tsconfig.build.json`, ts.sys.readFile)
const { options, fileNames } = ts.parseJsonConfigFileContent(config, ts.sys, root)
const program = ts.createProgram(fileNames, options)
const checker = program.getTypeChecker()
/** Symbols that numberOf() has looked at, with the number, if they are one. */
const known = new Map()
const { diagnostics } = program.emit(undefined, undefined, undefined, false, {
  before: [withNumbers],
})
const all = [...ts.getPreEmitDiagnostics(program), ...diagnostics]
if (all.length > 0) {
  console.error(
    ts.formatDiagnosticsWithColorAndContext(all, {
      getCurrentDirectory: () => root,
      getCanonicalFileName: (name) => name,
      getNewLine: () => '\n',
    }),
  )
  process.exit(1)
}

/** A transformer: puts numbers in the place of constants, and leaves out their imports. */
function withNumbers(context) {
  const visit = (node) => {
    if (ts.isTypeNode(node) || ts.isExportDeclaration(node)) return node
    if (ts.isImportDeclaration(node)) return withoutNumbers(node)
    if (ts.isVariableDeclaration(node) && numberOf(node.name) !== undefined)
      return factory.updateVariableDeclaration(
        node,
        node.name,
        undefined,
        undefined,
        literal(numberOf(node.name)),
      )
    if (ts.isShorthandPropertyAssignment(node)) {
      const value = numberOf(node.name, checker.getShorthandAssignmentValueSymbol(node))
      return value === undefined
        ? node
        : factory.createPropertyAssignment(node.name, literal(value, node.name.text))
    }
    if (ts.isBinaryExpression(node)) {
      const value = valueOf(node)
      if (value !== undefined) return literal(value, node.getText())
    }
    if (ts.isIdentifier(node)) {
      const value = isUse(node) ? numberOf(node) : undefined
      return value === undefined ? node : literal(value, node.text)
    }
    return ts.visitEachChild(node, visit, context)
  }
  return (file) => ts.visitEachChild(file, visit, context)
}

/** An import without the constants; undefined if it has nothing else. */
function withoutNumbers(node) {
  const { importClause } = node
  const names = importClause?.namedBindings
  if (names === undefined || !ts.isNamedImports(names)) return node
  if (names.elements.every(({ name }) => numberOf(name) === undefined)) return node
  const others = names.elements.filter(
    ({ isTypeOnly, name }) => !isTypeOnly && numberOf(name) === undefined,
  )
  if (others.length === 0) return undefined
  return factory.updateImportDeclaration(
    node,
    node.modifiers,
    factory.updateImportClause(
      importClause,
      importClause.phaseModifier,
      importClause.name,
      factory.updateNamedImports(names, others),
    ),
    node.moduleSpecifier,
    node.attributes,
  )
}

/** Whether an identifier is read there, and does not name a member or a declaration. */
function isUse(node) {
  return node.parent.name !== node && node.parent.propertyName !== node
}

/** The value of a constant that the source computes from numbers; undefined for anything else. */
function numberOf(name, symbol = checker.getSymbolAtLocation(name)) {
  if (symbol === undefined) return undefined
  if (symbol.flags & ts.SymbolFlags.Alias) symbol = checker.getAliasedSymbol(symbol)
  if (known.has(symbol)) return known.get(symbol)
  known.set(symbol, undefined)
  const { valueDeclaration } = symbol
  const isConstant =
    valueDeclaration !== undefined &&
    ts.isVariableDeclaration(valueDeclaration) &&
    ts.isIdentifier(valueDeclaration.name) &&
    valueDeclaration.initializer !== undefined &&
    (valueDeclaration.parent.flags & ts.NodeFlags.Const) !== 0 &&
    valueDeclaration.parent.parent.parent.kind === SyntaxKind.SourceFile
  const value = isConstant ? valueOf(valueDeclaration.initializer) : undefined
  known.set(symbol, value)
  return value
}

function valueOf(node) {
  if (ts.isNumericLiteral(node)) return Number(node.text)
  if (ts.isIdentifier(node)) return numberOf(node)
  if (ts.isParenthesizedExpression(node)) return valueOf(node.expression)
  if (ts.isPrefixUnaryExpression(node) && node.operator === SyntaxKind.MinusToken) {
    const value = valueOf(node.operand)
    return value === undefined ? undefined : -value
  }
  if (!ts.isBinaryExpression(node)) return undefined
  const [a, b] = [valueOf(node.left), valueOf(node.right)]
  const operation = OPERATIONS[node.operatorToken.kind]
  return a === undefined || b === undefined ? undefined : operation?.(a, b)
}

/** A number as the source would write it, with the constant's name beside it. */
function literal(value, name) {
  const digits = factory.createNumericLiteral(String(Math.abs(value)))
  const number =
    value < 0 ? factory.createParenthesizedExpression(factory.createPrefixMinus(digits)) : digits
  return name === undefined
    ? number
    : ts.addSyntheticTrailingComment(number, SyntaxKind.MultiLineCommentTrivia, ` ${name} `)
}
