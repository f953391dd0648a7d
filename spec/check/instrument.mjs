/**
 * Turns the shipped source of the concurrent core into modules that stop before every access to
 * shared memory.
 *
 * Each function of the core that touches shared words, itself or through what it calls, becomes a
 * generator; calls between such functions become `yield*`; each access becomes a question to the
 * explorer ($ in runtime.mjs), asked when the arguments are evaluated and right before it would
 * happen. The explorer performs it, and either lets the thread go on or takes it off there (the
 * `yield`).
 *
 * What is shared is told by the type: an expression of the branded type SharedWords. Whatever is
 * done with such an expression that is not understood here is an error with its file and line.
 * Nothing is skipped.
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import ts from 'typescript'

export const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../..')
const CACHE = join(ROOT, 'node_modules/.cache/dirtyring-check')
const RUNTIME = pathToFileURL(join(ROOT, 'spec/check/runtime.mjs')).href

/** Instrumented. */
export const CORE = [
  'memory/total',
  'memory/slot',
  'memory/plan',
  'ring/token',
  'ring/start',
  'ring/ring',
  'ring/lane',
  'ring/ancestors',
  'ring/reap',
  'ring/consume',
  'ring/drain',
  'aggregator/state',
  'aggregator/step',
  'aggregator/effects',
  'aggregator/merges',
  'aggregator/publish',
  'aggregator/superset',
  'aggregator/open-epoch',
  'aggregator/texts',
  'aggregator/table',
  'aggregator/wake',
  'aggregator/park',
  'set/kernel',
  'set/sip',
  'set/text-set',
  'set/filter',
  'epochs/live',
  'tracker/outbox',
  'tracker/places',
  'dictionary/core',
]
/**
 * Taken as they are: what the models set the memory up with, and all that it and the core import.
 * These modules do not touch shared memory, or only before any other thread has it (memory.ts). The
 * core may not hand the words to them.
 */
const AS_THEY_ARE = closureOf([...CORE, 'memory/memory', 'set/mix', 'text/murmur']).slice(
  CORE.length,
)

/**
 * Functions that may be handed the words although they are not instrumented: they read what was
 * written once, before the handle left create().
 */
const READ_SETUP_ONLY = new Set(['secretsAt', 'textSecretsAt'])

const ATOMICS = new Map([
  ['load', 'aload'],
  ['store', 'astore'],
  ['compareExchange', 'acas'],
  ['exchange', 'arw'],
  ['or', 'arw'],
  ['and', 'arw'],
  ['xor', 'arw'],
  ['add', 'arw'],
  ['sub', 'arw'],
  ['wait', 'await'],
  ['notify', 'anotify'],
])

/** What a host's method does to the words, for the checker: one store after the other. */
const WRITTEN_OUT = [
  {
    file: 'ring/lane',
    find: 'words.set(block, at)',
    replace: 'for (let i = 0; i < block.length; i++) words[at + i] = block[i]',
  },
]

/** Sizes of steps that no small scenario would reach. */
const SCALED_DOWN = [
  { file: 'aggregator/merges', find: 'const STEP_KEYS = 1024', replace: 'const STEP_KEYS = 2' },
  { file: 'aggregator/merges', find: 'const STEP_WORDS = 65_536', replace: 'const STEP_WORDS = 8' },
  {
    file: 'aggregator/publish',
    find: 'namespaces.length === NAMESPACES_MAX',
    replace: 'namespaces.length === 2',
  },
]

/** TypeScript keeps it to itself. @type {(kind: ts.SyntaxKind) => boolean} */
const isAssignmentOperator = /** @type {any} */ (ts).isAssignmentOperator

export class CannotInstrument extends Error {
  constructor(problems) {
    super(
      `the core has accesses to shared memory that cannot be instrumented:\n${problems.map((problem) => `  ${problem}`).join('\n')}`,
    )
    this.problems = problems
  }
}

function libFile(name) {
  return join(ROOT, 'lib', `${name}.ts`)
}

/** Modules and all that they import, directly or not. Types do not count. */
function closureOf(names) {
  const found = new Set(names)
  for (const name of found) {
    const text = readFileSync(libFile(name), 'utf8')
    for (const [, from] of text.matchAll(
      /^(?:import|export) (?!type )[^;]*?from '(\.[^']+)\.js'/gm,
    ))
      found.add(join(dirname(name), from))
  }
  return [...found]
}

/**
 * The source texts, with `edits` ({ file, find, replace }) made; an edit whose text is not there
 * exactly once is an error.
 */
export function readSources(edits = []) {
  const sources = new Map(
    [...CORE, ...AS_THEY_ARE].map((name) => [name, readFileSync(libFile(name), 'utf8')]),
  )
  for (const { file, find, replace } of [...WRITTEN_OUT, ...SCALED_DOWN, ...edits]) {
    const text = sources.get(file)
    if (text === undefined) throw new Error(`an edit names ${file}, which is not in the core`)
    const parts = text.split(laidOutAnyhow(find))
    if (parts.length !== 2)
      throw new Error(
        `an edit of lib/${file}.ts finds its text ${parts.length - 1} times, not once: ${find}`,
      )
    // The pattern takes the line's end before the text along.
    sources.set(file, parts.join(/^\s/.test(find) ? `\n${replace}` : replace))
  }
  return sources
}

/** The method's name, of a call of a method. */
function methodOf(call) {
  return call.expression.name.text
}

/** Matches a text whatever its line breaks and indentation are. */
function laidOutAnyhow(find) {
  const literal = find.trim().replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')
  const loose = literal.replaceAll(/\\\(/g, '\\(\\s*').replaceAll(/\\\)/g, '\\s*\\)')
  const [before, after] = [/^\s*/, /\s*$/].map((edge) => (edge.exec(find)[0] === '' ? '' : '\\s*'))
  return new RegExp(before + loose.replaceAll(/\s+/g, '\\s+') + after)
}

let lastProgram

function makeProgram(sources) {
  const config = ts.getParsedCommandLineOfConfigFile(
    join(ROOT, 'tsconfig.json'),
    {},
    { ...ts.sys, onUnRecoverableConfigFileDiagnostic: () => undefined },
  )
  const options = { ...config.options, types: [] }
  const host = ts.createCompilerHost(options, true)
  const read = host.getSourceFile.bind(host)
  const texts = new Map([...sources].map(([name, text]) => [libFile(name), text]))
  host.getSourceFile = (file, ...rest) => {
    const text = texts.get(resolve(file))
    const old = lastProgram?.getSourceFile(file)
    if (text === undefined) return old ?? read(file, ...rest)
    return old?.text === text ? old : ts.createSourceFile(file, text, rest[0], true)
  }
  lastProgram = ts.createProgram([...texts.keys()], options, host, lastProgram)
  return lastProgram
}

/**
 * The instrumented texts, by name, and the sites. Throws CannotInstrument. `core` are the names to
 * instrument; the rest is transpiled as it is.
 */
export function instrument(sources, core = CORE) {
  const program = makeProgram(sources)
  const checker = program.getTypeChecker()
  const problems = []
  const sites = []
  const files = core.map((name) => program.getSourceFile(libFile(name)))
  const coreFiles = new Set(files)

  const place = (node) => {
    const file = node.getSourceFile()
    return `${relative(ROOT, file.fileName)}:${file.getLineAndCharacterOfPosition(node.getStart()).line + 1}`
  }
  const refuse = (node, why) => {
    const problem = `${place(node)}: ${why}: ${node.getText().replace(/\s+/g, ' ').slice(0, 80)}`
    if (!problems.includes(problem)) problems.push(problem)
  }
  const siteOf = (node) => {
    sites.push({ at: place(node), text: node.getText().replace(/\s+/g, ' ').slice(0, 90) })
    return sites.length - 1
  }

  const isBranded = (type) =>
    checker
      .getPropertiesOfType(type)
      .some((property) => String(property.escapedName).startsWith('__@shared@'))
  const brandCache = new Map()
  const isSharedType = (type) => {
    if (
      (type.flags &
        (ts.TypeFlags.Object |
          ts.TypeFlags.Intersection |
          ts.TypeFlags.Union |
          ts.TypeFlags.TypeParameter)) ===
      0
    )
      return false
    let is = brandCache.get(type)
    if (is === undefined)
      brandCache.set(type, (is = type.isUnion() ? type.types.some(isBranded) : isBranded(type)))
    return is
  }
  const isShared = (node) => isSharedType(checker.getTypeAtLocation(node))
  /** Has the words in it, a few levels down: a Memory, a Lane, an Aggregator. */
  const carries = (type, depth = 2) => {
    if (isSharedType(type)) return true
    if (depth === 0 || (type.flags & ts.TypeFlags.Object) === 0) return false
    if (type.getCallSignatures().length > 0) return false
    return checker
      .getPropertiesOfType(type)
      .some((property) => carries(checker.getTypeOfSymbol(property), depth - 1))
  }
  const symbolOf = (node) => {
    const symbol = checker.getSymbolAtLocation(node)
    return symbol !== undefined && (symbol.flags & ts.SymbolFlags.Alias) !== 0
      ? checker.getAliasedSymbol(symbol)
      : symbol
  }
  const declarationOf = (callee) => {
    const declaration = symbolOf(callee)?.declarations?.[0]
    return declaration !== undefined &&
      ts.isFunctionDeclaration(declaration) &&
      coreFiles.has(declaration.getSourceFile())
      ? declaration
      : undefined
  }
  const isAtomics = (callee) =>
    ts.isPropertyAccessExpression(callee) &&
    ts.isIdentifier(callee.expression) &&
    callee.expression.text === 'Atomics'
  const outer = (node) => {
    let parent = node.parent
    while (
      ts.isParenthesizedExpression(parent) ||
      ts.isNonNullExpression(parent) ||
      ts.isSatisfiesExpression(parent)
    )
      parent = parent.parent
    return parent
  }
  const readsSetupOnly = (callee) => ts.isIdentifier(callee) && READ_SETUP_ONLY.has(callee.text)
  const isInside = (part, whole) => part.pos >= whole.pos && part.end <= whole.end
  const functionAround = (node) => {
    let at = node.parent
    while (
      at !== undefined &&
      !ts.isFunctionLike(at) &&
      !ts.isSourceFile(at) &&
      !ts.isClassStaticBlockDeclaration(at)
    )
      at = at.parent
    return at
  }

  // ----------------------------------------------------------- which functions touch shared memory
  const touching = new Set()
  const callers = new Map()
  const accesses = []

  /** A plain function of the core, the only place where an access can be stopped at. */
  const checkHome = (node, what) => {
    const home = functionAround(node)
    const isPlain = ts.isFunctionDeclaration(home) && ts.isSourceFile(home.parent)
    if (!isPlain)
      return refuse(
        node,
        `${what} in ${ts.isSourceFile(home) ? 'no function' : 'a closure, method, getter or nested function'}`,
      )
    if (
      home.asteriskToken !== undefined ||
      home.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.AsyncKeyword)
    ) {
      return refuse(node, `${what} in a generator or an async function`)
    }
    if (home.parameters.some((parameter) => isInside(node, parameter)))
      return refuse(node, `${what} in a parameter's default`)
    return home
  }

  const checkUse = (node) => {
    const parent = node.parent
    // Names, and parts of types: no expressions.
    if (
      ts.isTypeNode(parent) ||
      ts.isTypeElement(parent) ||
      ts.isTypeAliasDeclaration(parent) ||
      ts.isParameter(parent) ||
      ts.isImportSpecifier(parent)
    )
      return
    if ((ts.isVariableDeclaration(parent) || ts.isBindingElement(parent)) && parent.name === node)
      return
    if (ts.isPropertyAccessExpression(parent) && parent.name === node) return
    if (ts.isBindingElement(parent) && parent.propertyName === node) return
    if (ts.isPropertyAssignment(parent) && parent.name === node) return
    const use = outer(node)
    const expected = checker.getContextualType(node)
    if (expected !== undefined && !isSharedType(expected) && !ts.isCallExpression(use))
      return refuse(node, 'shared words where their type is lost')
    // looked at on its own
    if (ts.isElementAccessExpression(use) && isInside(node, use.expression)) return
    if (ts.isCallExpression(use) && !isInside(node, use.expression)) {
      // looked at on its own
      if (isAtomics(use.expression) && isInside(node, use.arguments[0])) return
      if (readsSetupOnly(use.expression)) return
      const declaration = declarationOf(use.expression)
      const at = use.arguments.findIndex((argument) => isInside(node, argument))
      if (declaration === undefined || ts.isSpreadElement(use.arguments[at]))
        return refuse(use, 'shared words handed to unknown code')
      const parameter = declaration.parameters[at]
      if (parameter === undefined || !isShared(parameter.name))
        return refuse(use, 'shared words handed to a parameter that loses their type')
      return
    }
    if (ts.isVariableDeclaration(use) && use.initializer !== undefined) {
      if (!ts.isIdentifier(use.name)) return refuse(use, 'shared words taken apart')
      if (!isShared(use.name)) return refuse(use, 'shared words where their type is lost')
      return
    }
    if (
      ts.isPropertyAssignment(use) ||
      ts.isShorthandPropertyAssignment(use) ||
      ts.isReturnStatement(use)
    )
      return
    if (ts.isBinaryExpression(use)) {
      const kind = use.operatorToken.kind
      if (
        kind === ts.SyntaxKind.EqualsEqualsEqualsToken ||
        kind === ts.SyntaxKind.ExclamationEqualsEqualsToken
      )
        return
      if (kind === ts.SyntaxKind.EqualsToken && isShared(use.left)) return
    }
    if (ts.isAsExpression(use) && isShared(use)) return
    if (ts.isPropertyAccessExpression(use))
      return refuse(use, 'a method or property of shared words')
    if (ts.isSpreadElement(use) || ts.isForOfStatement(use))
      return refuse(use, 'an iterator over shared words')
    refuse(use, 'a use of shared words that is not understood')
  }

  const scan = (node) => {
    if (ts.isTypeNode(node)) return
    if (
      (ts.isIdentifier(node) ||
        ts.isPropertyAccessExpression(node) ||
        ts.isCallExpression(node) ||
        ts.isElementAccessExpression(node)) &&
      isShared(node)
    ) {
      checkUse(node)
    }
    if (ts.isElementAccessExpression(node) && isShared(node.expression)) {
      const home = checkHome(node, 'a shared access')
      if (home !== undefined) touching.add(home)
      accesses.push(node)
      const use = outer(node)
      const isTarget =
        ts.isArrayLiteralExpression(use) ||
        ts.isForOfStatement(use) ||
        ts.isForInStatement(use) ||
        ts.isDeleteExpression(use)
      if (isTarget && !(ts.isArrayLiteralExpression(use) && !isPattern(use)))
        refuse(use, 'a shared element as the target of a pattern or a loop')
      if (ts.isPrefixUnaryExpression(use) || ts.isPostfixUnaryExpression(use)) {
        if (
          use.operator === ts.SyntaxKind.PlusPlusToken ||
          use.operator === ts.SyntaxKind.MinusMinusToken
        ) {
          refuse(use, '++ and -- hide two accesses to shared words: write += 1')
        }
      }
    }
    if (ts.isCallExpression(node) && isAtomics(node.expression)) {
      const first = node.arguments[0]
      if (first === undefined || !isShared(first))
        refuse(node, 'Atomics on something else than shared words')
      else if (!ATOMICS.has(methodOf(node)))
        refuse(node, `Atomics.${methodOf(node)} is not modelled`)
      else if (node.arguments.some(ts.isSpreadElement))
        refuse(node, 'a spread among the arguments of Atomics')
      const home = checkHome(node, 'a shared access')
      if (home !== undefined) touching.add(home)
    } else if (
      (ts.isCallExpression(node) || ts.isNewExpression(node)) &&
      declarationOf(node.expression) === undefined &&
      !readsSetupOnly(node.expression)
    ) {
      for (const argument of node.arguments ?? []) {
        if (carries(checker.getTypeAtLocation(argument)))
          refuse(node, 'something with shared words in it handed to unknown code')
      }
    }
    if (
      ts.isIdentifier(node) &&
      node.text === 'Atomics' &&
      !(ts.isPropertyAccessExpression(node.parent) && ts.isCallExpression(node.parent.parent))
    ) {
      refuse(node.parent, 'Atomics as a value')
    }
    if (ts.isCallExpression(node)) {
      const declaration = declarationOf(node.expression)
      if (declaration !== undefined) callers.set(node, declaration)
    }
    ts.forEachChild(node, scan)
  }
  for (const file of files) scan(file)

  for (let before = -1; before !== touching.size;) {
    before = touching.size
    for (const [call, declaration] of callers) {
      if (!touching.has(declaration)) continue
      const home = checkHome(call, 'a call that reaches shared memory')
      if (home !== undefined) touching.add(home)
    }
  }
  // A function that became a generator must be called by name: as a value it could be called where
  // no code would run it.
  const checkValues = (node) => {
    if (
      ts.isIdentifier(node) &&
      !ts.isImportSpecifier(node.parent) &&
      !ts.isFunctionDeclaration(node.parent) &&
      !ts.isExportSpecifier(node.parent)
    ) {
      const declaration =
        ts.isPropertyAccessExpression(node.parent) && node.parent.name === node
          ? undefined
          : declarationOf(node)
      if (declaration !== undefined && touching.has(declaration)) {
        const use = outer(node)
        if (!(ts.isCallExpression(use) && isInside(node, use.expression)))
          refuse(use, 'a function that reaches shared memory used as a value')
      }
    }
    if (!ts.isTypeNode(node)) ts.forEachChild(node, checkValues)
  }
  for (const file of files) checkValues(file)
  if (problems.length > 0) throw new CannotInstrument(problems)

  // ---------------------------------------------------------------------------------- the new text
  const output = new Map()
  for (const [name, text] of sources) {
    const file = program.getSourceFile(libFile(name))
    const isCore = coreFiles.has(file)
    const rendered = isCore
      ? `import { $ } from ${JSON.stringify(RUNTIME)};${render(file, text, undefined)}`
      : text
    output.set(
      name,
      ts.transpileModule(rendered, {
        compilerOptions: {
          target: ts.ScriptTarget.ES2022,
          module: ts.ModuleKind.ESNext,
          verbatimModuleSyntax: true,
        },
      }).outputText,
    )
  }
  if (problems.length > 0) throw new CannotInstrument(problems)
  return { output, sites }

  function render(node, text, home) {
    const lead = text.slice(node.pos, node.getStart(node.getSourceFile()))
    const inside = ts.isFunctionDeclaration(node)
      ? touching.has(node)
        ? node
        : undefined
      : ts.isFunctionLike(node)
        ? undefined
        : home
    const special = inside === undefined ? undefined : renderSpecial(node, text, inside)
    if (special !== undefined) return lead + special
    const plain = renderChildren(node, text, inside)
    if (ts.isFunctionDeclaration(node) && inside !== undefined)
      return lead + plain.slice(lead.length).replace(/^((?:export\s+)?)function\b/, '$1function*')
    return plain
  }

  function renderChildren(node, text, home, custom = (_child) => undefined) {
    const children = []
    ts.forEachChild(node, (child) => {
      children.push(child)
    })
    children.sort((a, b) => a.pos - b.pos)
    let out = ''
    let at = node.pos
    for (const child of children) {
      out += text.slice(at, child.pos) + (custom(child) ?? render(child, text, home))
      at = child.end
    }
    return out + text.slice(at, node.end)
  }

  function renderSpecial(node, text, home) {
    const of = (child) => render(child, text, home).trim()
    if (ts.isTypeNode(node)) return undefined
    if (ts.isElementAccessExpression(node) && isShared(node.expression)) {
      return `($.r(${of(node.expression)}, ${of(node.argumentExpression)}, ${siteOf(node)}) ? (yield) : $.v)`
    }
    if (ts.isBinaryExpression(node) && isSharedElement(node.left)) {
      const { expression, argumentExpression } = unwrap(node.left)
      const operator = node.operatorToken.getText()
      if (operator === '=') {
        return `($.w(${of(expression)}, ${of(argumentExpression)}, ${of(node.right)}, ${siteOf(node)}) ? (yield) : $.v)`
      }
      if (isAssignmentOperator(node.operatorToken.kind)) {
        if (!isPure(expression) || !isPure(argumentExpression))
          refuse(node, 'a compound assignment whose place is not simple')
        const value = `${of(node.left)} ${operator.slice(0, -1)} (${of(node.right)})`
        return `($.w(${of(expression)}, ${of(argumentExpression)}, ${value}, ${siteOf(node)}) ? (yield) : $.v)`
      }
    }
    if (ts.isCallExpression(node)) {
      const given = node.arguments.map(of)
      const site = siteOf(node)
      if (isAtomics(node.expression)) {
        const name = methodOf(node)
        const hook = ATOMICS.get(name)
        if (hook === 'arw') given.unshift(JSON.stringify(name))
        if (hook === 'await' && given.length === 3) given.push('Infinity')
        if (hook === 'anotify' && given.length === 2) given.push('Infinity')
        return `($.${hook}(${given.join(', ')}, ${site}) ? (yield) : $.v)`
      }
      const declaration = declarationOf(node.expression)
      const delegate = declaration !== undefined && touching.has(declaration) ? 'yield* ' : ''
      return `($.p(${site}), ${delegate}${of(node.expression)}(${given.join(', ')}))`
    }
    if (ts.isIterationStatement(node, false)) {
      // The start of a loop's body, from the second time on, is the back-edge.
      if (ts.isDoStatement(node)) return refuse(node, 'a do loop')
      const point = `$.p(${siteOf(node)});`
      const whole = renderChildren(node, text, home, (child) =>
        child === node.statement ? ` { ${point} ${render(child, text, home)} }` : undefined,
      )
      return whole.slice(text.slice(node.pos, node.getStart()).length)
    }
    if (ts.isExpressionStatement(node)) {
      const lead = text.slice(node.expression.pos, node.expression.getStart())
      const expression = render(node.expression, text, home).slice(lead.length)
      // The source has no semicolons: a statement must not begin with a parenthesis.
      return expression.startsWith('(') ? `void ${expression}` : undefined
    }
    return undefined
  }

  function isSharedElement(node) {
    const inner = unwrap(node)
    return ts.isElementAccessExpression(inner) && isShared(inner.expression)
  }
  function unwrap(node) {
    return ts.isParenthesizedExpression(node) ? unwrap(node.expression) : node
  }
  function isPure(node) {
    if (ts.isIdentifier(node) || ts.isNumericLiteral(node)) return true
    if (ts.isParenthesizedExpression(node)) return isPure(node.expression)
    if (ts.isPropertyAccessExpression(node)) return isPure(node.expression)
    return (
      ts.isBinaryExpression(node) &&
      !isAssignmentOperator(node.operatorToken.kind) &&
      isPure(node.left) &&
      isPure(node.right)
    )
  }
  function isPattern(node) {
    const use = outer(node)
    return (
      (ts.isBinaryExpression(use) &&
        use.left === node &&
        use.operatorToken.kind === ts.SyntaxKind.EqualsToken) ||
      ts.isForOfStatement(use)
    )
  }
}

/** Build the core, with edits made to its source, unless it is in the cache; returns the folder. */
export function buildCore(edits = []) {
  const sources = readSources(edits)
  const hash = createHash('sha256')
    .update(readFileSync(fileURLToPath(import.meta.url)))
    .update(ts.version)
    .update(RUNTIME)
  for (const [name, text] of sources) hash.update(`\0${name}\0${text}`)
  const folder = join(CACHE, hash.digest('hex').slice(0, 24))
  if (existsSync(folder)) return folder
  const { output, sites } = instrument(sources)
  const making = `${folder}.${process.pid}`
  for (const [name, text] of output) {
    mkdirSync(dirname(join(making, `${name}.js`)), { recursive: true })
    writeFileSync(join(making, `${name}.js`), text)
  }
  writeFileSync(join(making, 'package.json'), '{ "type": "module" }')
  writeFileSync(join(making, 'sites.json'), JSON.stringify(sites))
  try {
    renameSync(making, folder)
  } catch {
    rmSync(making, { recursive: true, force: true }) // another process was faster
  }
  return folder
}

/**
 * Every export of the instrumented core in one object, and the sites. Of two of one name, that of the
 * core itself.
 */
export async function loadCore(edits = []) {
  const folder = buildCore(edits)
  const modules = await Promise.all(
    [...AS_THEY_ARE, ...CORE].map((name) => import(pathToFileURL(join(folder, `${name}.js`)).href)),
  )
  return {
    ...Object.assign({}, ...modules),
    sites: JSON.parse(readFileSync(join(folder, 'sites.json'), 'utf8')),
    folder,
  }
}
