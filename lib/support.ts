import { platform } from '#platform'

/** What this runtime can do: see {@link runtimeSupport}. */
export interface RuntimeSupport {
  /**
   * SharedArrayBuffer exists. In a browser that needs Cross-Origin-Opener-Policy and
   * Cross-Origin-Embedder-Policy.
   */
  sharedMemory: boolean
  /** This thread may sleep in Atomics.wait (not a browser's main thread). */
  canBlock: boolean
  /** Atomics.waitAsync exists: without it the library looks every few ms where it would be told. */
  waitAsync: boolean
  /** WebAssembly exists, and this page's or process's policy lets it compile. */
  wasm: boolean
}

/**
 * What this runtime can do; never throws, also where SharedArrayBuffer is missing. Any thread.
 *
 * @example
 * ```js
 * import { runtimeSupport } from 'dirtyring'
 *
 * console.log(runtimeSupport().sharedMemory) // true
 * if (!runtimeSupport().sharedMemory) console.log('this page needs two headers')
 * ```
 */
export function runtimeSupport(): RuntimeSupport {
  return {
    sharedMemory: typeof SharedArrayBuffer === 'function',
    canBlock: platform.canBlock(),
    waitAsync: typeof Atomics === 'object' && typeof Atomics.waitAsync === 'function',
    wasm: mayCompile(),
  }
}

/** The smallest module there is. */
const EMPTY_MODULE = Uint8Array.of(0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00)

function mayCompile(): boolean {
  const { WebAssembly } = globalThis as {
    WebAssembly?: { Module: new (code: Uint8Array) => object }
  }
  try {
    return WebAssembly !== undefined && typeof new WebAssembly.Module(EMPTY_MODULE) === 'object'
  } catch {
    return false
  }
}
