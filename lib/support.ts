import { platform } from './platform/current.js'
import { canWaitAsync } from './wait-async.js'

/** What this runtime can do: see {@link runtimeSupport}. */
export interface RuntimeSupport {
  /**
   * SharedArrayBuffer exists. In a browser that needs Cross-Origin-Opener-Policy and
   * Cross-Origin-Embedder-Policy. In a SharedWorker and in a service worker it may be missing even
   * so.
   */
  sharedMemory: boolean
  /** This thread may sleep in Atomics.wait (not a page's main thread, nor a service worker). */
  canBlock: boolean
  /** Atomics.waitAsync exists. Without it the tracker looks every 50 ms instead of being woken. */
  waitAsync: boolean
  /** WebAssembly exists, and this page's or process's policy lets it compile. */
  wasm: boolean
}

/**
 * Says what this runtime can do. Any thread may call it.
 *
 * @returns one boolean for each thing. The function never throws, not even where SharedArrayBuffer
 * is missing
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
    waitAsync: canWaitAsync(),
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
