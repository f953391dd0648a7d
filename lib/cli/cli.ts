#!/usr/bin/env node
/**
 * Checks the version of Node before it loads the command. The command imports names that older
 * versions do not have. So this file imports nothing, and its syntax is old.
 */
const oldest = [
  [20, 19],
  [22, 12],
] as const
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
const isSupported = major > 22 || oldest.some(([line, least]) => major === line && minor >= least)

if (isSupported) {
  void import('./main.js')
} else {
  process.stderr.write(
    `dirtyring: needs Node ${oldest.map((pair) => pair.join('.')).join(', or ')} and later, ` +
      `but this is Node ${process.versions.node}\n`,
  )
  process.exitCode = 1
}

export {}
