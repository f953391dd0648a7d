/**
 * Compiles kernel.as.ts and writes its code into binary.ts, which the library carries: node
 * lib/set/native/compile.js [--check] With --check it writes nothing, and fails where binary.ts
 * holds something else.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import asc from 'assemblyscript/asc'

const source = fileURLToPath(new URL('kernel.as.ts', import.meta.url))
const target = new URL('binary.ts', import.meta.url)

const text = binaryText(await compile())
const there = readFileSync(target, { encoding: 'utf8', flag: 'a+' })
if (process.argv.includes('--check')) {
  if (there !== text)
    throw new Error('lib/set/native/binary.ts is not what kernel.as.ts compiles to: npm run build')
} else if (there !== text) {
  writeFileSync(target, text)
}

async function compile() {
  let code
  const { error, stderr } = await asc.main(
    [
      basename(source),
      ...[
        '--outFile',
        'kernel.wasm',
        '--baseDir',
        dirname(source),
        '-O3',
        '--noAssert',
        '--runtime',
        'stub',
      ],
      ...[
        '--importMemory',
        '--sharedMemory',
        '--initialMemory',
        '1',
        '--maximumMemory',
        '65536',
        '--enable',
        'threads',
      ],
    ],
    {
      writeFile: (_name, contents) => (code = contents),
      readFile: (name) => (name === basename(source) ? kernelText() : null),
    },
  )
  if (error !== null || code === undefined)
    throw new Error(`kernel.as.ts does not compile: ${stderr.toString()}`, { cause: error })
  return code
}

/** The kernel with its decorators: TypeScript has none on functions, so they stand in comments. */
function kernelText() {
  return readFileSync(source, 'utf8').replaceAll(/^\/\/ @inline$/gm, '@inline')
}

/** In hexadecimal, because compressed it takes a quarter less than in base64. */
function binaryText(code) {
  const lines = Buffer.from(code)
    .toString('hex')
    .match(/.{1,140}/g)
  const literal = lines.map((line) => `  '${line}'`).join(' +\n')
  return `// Made by compile.js of kernel.as.ts: ${code.length} bytes of WebAssembly.\nexport const BINARY =\n${literal}\n`
}
