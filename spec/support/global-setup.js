import { spawnSync } from 'node:child_process'

/** Builds the package once, for the programs that run against it. */
export default function setup() {
  if (process.env.DIRTYRING_BUILT === '1') return
  const { NODE_OPTIONS: _, ...env } = process.env
  const { status, error } = spawnSync('npm', ['run', '--silent', 'build'], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env,
  })
  if (error) throw error
  if (status !== 0) throw new Error(`the build failed (exit status ${status})`)
}
