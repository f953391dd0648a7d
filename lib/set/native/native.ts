import { BYTES_PER_CHUNK, MAX_BYTES, type NativeMemory } from '../../memory/memory.js'
import { addressSpaceLeft } from '../../platform/address-space.js'
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

const GIB = 2 ** 30
/**
 * What V8 reserves for a memory of any size, so that its code needs no bounds checks: 10 GiB in
 * Node 20 and 22, 8 GiB in Node 24. If less is left, V8 throws a RangeError.
 */
const GUARDED_MIN = 8 * GIB
const GUARDED_MAX = 10 * GIB
/**
 * What a guarded memory has to leave of a limited address space. A thread takes 0.64 GiB (Node 20
 * to 24), and V8 ends the process if it finds too little of it. `needed`: for the aggregator's
 * thread. `spare`: for five more.
 */
export const LEFT_OVER = { needed: GIB, spare: 4 * GIB } as const

/**
 * Reserves a memory of that size, which never grows. Undefined where WebAssembly is missing or
 * forbidden, where its address space is not available, and where it would leave less than
 * `leftOver` of it.
 */
export function reserveNative(
  bytes: number,
  leftOver: number = LEFT_OVER.spare,
): NativeMemory | undefined {
  if (bytes > MAX_BYTES) return undefined
  const left = addressSpaceLeft()
  // With less than GUARDED_MIN a guarded memory throws below, and another one takes only its size.
  if (left >= GUARDED_MIN && left < GUARDED_MAX + leftOver) return undefined
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
    Uint8Array.from(BINARY.match(/../g)!, (byte) => parseInt(byte, 16)),
  ))
}
