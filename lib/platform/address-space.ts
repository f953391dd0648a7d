const DISABLED = '--disable-wasm-trap-handler'

/**
 * How many bytes of address space this process may still take, with `ulimit -v`. Infinity where
 * there is no limit, or where the host does not tell it; also where Node was told not to guard the
 * memories of WebAssembly, because they then take no more than their size.
 */
export function addressSpaceLeft(): number {
  const { process, Deno } = globalThis as { process?: NodeJS.Process; Deno?: unknown }
  // Deno would ask the user for the permission to read these files.
  if (process?.platform !== 'linux' || Deno !== undefined) return Infinity
  try {
    const { execArgv, env } = process
    if (execArgv.includes(DISABLED) || env.NODE_OPTIONS?.includes(DISABLED) === true)
      return Infinity
    const { readFileSync } = process.getBuiltinModule('node:fs')
    const limit = /^Max address space +(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))
    if (limit === null) return Infinity // 'unlimited'
    const taken = /^VmSize:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'latin1'))!
    return Number(limit[1]) - Number(taken[1]) * 1024
  } catch {
    return Infinity // there is no /proc, or it may not be read
  }
}
