import { execSync } from 'node:child_process'

/** Builds the package once, for the programs that run against it. */
export default function setup() {
  if (process.env.DIRTYRING_BUILT === '1') return
  const { NODE_OPTIONS: _, ...env } = process.env
  // Through a shell: on Windows npm is a script.
  execSync('npm run --silent build', { stdio: ['ignore', 'inherit', 'inherit'], env })
}
