import { BYTES_PER_CHUNK, MAX_BYTES, type NativeMemory } from '../../memory/memory.js'
import type { NativeKernel } from '../kernel.js'
import type { Secrets } from '../mix.js'
import { BINARY } from './binary.js'

/** What is used here of a namespace that only a browser's type library declares. */
declare const WebAssembly: {
  Memory: new (descriptor: { initial: number; maximum: number; shared: true }) => NativeMemory
  Module: new (code: Uint8Array) => object
  Instance: new (module: object, imports: object) => { readonly exports: object }
}

let compiled: object | undefined

/**
 * So much memory of the kind, fixed in its size. Undefined where WebAssembly is missing or
 * forbidden, or its address space is not available.
 */
export function reserveNative(bytes: number): NativeMemory | undefined {
  if (bytes > MAX_BYTES) return undefined
  const pages = Math.ceil(bytes / BYTES_PER_CHUNK)
  try {
    moduleOf()
    return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true })
  } catch {
    return undefined
  }
}

/** Words that the loops need for themselves while they run. */
export const SCRATCH_WORDS = 256

/**
 * The loops in machine code, for one memory on the calling thread, with the word index of
 * SCRATCH_WORDS in it that no other code writes. Undefined where the thread does not allow that.
 */
export function nativeKernel(
  memory: NativeMemory | undefined,
  secrets: Secrets,
  scratch: number,
): NativeKernel | undefined {
  if (memory === undefined) return undefined
  try {
    const { exports } = new WebAssembly.Instance(moduleOf(), { env: { memory } })
    const kernel = exports as NativeKernel & { init(...secrets: number[]): void }
    kernel.init(
      secrets.seedLo,
      secrets.mulLo,
      secrets.seedHi,
      secrets.mulHi,
      secrets.mulMix,
      scratch << 2,
    )
    return kernel
  } catch {
    return undefined
  }
}

/** Throws where WebAssembly is missing (a ReferenceError) or forbidden. */
function moduleOf(): object {
  return (compiled ??= new WebAssembly.Module(
    Uint8Array.from(atob(BINARY), (char) => char.charCodeAt(0)),
  ))
}
