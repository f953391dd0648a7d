/**
 * npm run check:types: compiles a program against the built declarations under the oldest
 * TypeScript that the README names, with `skipLibCheck: false`. npm fetches that version.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const OLDEST = '5.4.5'
const index = fileURLToPath(new URL('../../dist/index.js', import.meta.url))
const PROGRAM = `
  import { DirtyTracker, openWriter } from ${JSON.stringify(index)}
  const tracker = await DirtyTracker.create({ batchSize: 1 })
  openWriter(tracker.handle).batch(() => tracker.openWriter().markPair(7, 2))
  for await (const epoch of tracker.epochs({ everyMs: 1 })) {
    const keys: (number | bigint)[] = [...epoch]
    console.log(keys, epoch.pairs[0])
  }
`
const OPTIONS =
  '--noEmit --strict --exactOptionalPropertyTypes --skipLibCheck false ' +
  '--module nodenext --target es2022 --lib es2022,dom --typeRoots .'

const folder = mkdtempSync(join(tmpdir(), 'dirtyring-types-'))
try {
  writeFileSync(join(folder, 'program.mts'), PROGRAM)
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'
  const { status } = spawnSync(
    npm,
    [
      ...['exec', '--yes', `--package=typescript@${OLDEST}`, '--', 'tsc'],
      ...OPTIONS.split(' '),
      'program.mts',
    ],
    { cwd: folder, stdio: 'inherit', shell: process.platform === 'win32' },
  )
  if (status === 0) console.log(`the declarations compile under TypeScript ${OLDEST}`)
  process.exitCode = status ?? 1
} finally {
  rmSync(folder, { recursive: true })
}
