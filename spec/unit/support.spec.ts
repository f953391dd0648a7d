import { afterEach, describe, expect, it, jest } from '@jest/globals'
import { checkByteOrder } from '../../lib/byte-order.js'
import { DirtyTracker, FingerprintSet, runtimeSupport } from '../../lib/index.js'
import { allocate } from '../../lib/memory/memory.js'
import { platform } from '../../lib/platform/current.js'
import { randomWords } from '../../lib/random-words.js'
import { thrown } from '../support/in-process.js'

const all = { sharedMemory: true, canBlock: true, waitAsync: true, wasm: true }
const host = globalThis as Record<string, unknown>
const { SharedArrayBuffer, WebAssembly, Int32Array, Uint32Array } = globalThis as any
const crypto = Object.getOwnPropertyDescriptor(host, 'crypto')!

afterEach(() => {
  Object.assign(host, { SharedArrayBuffer, WebAssembly, Int32Array, Uint32Array })
  Object.defineProperty(host, 'crypto', crypto)
  jest.restoreAllMocks()
})

describe('a host without shared memory', () => {
  it('is told what a page needs', async () => {
    host.SharedArrayBuffer = undefined
    await expect(DirtyTracker.create()).rejects.toMatchObject({
      code: 'ERR_DIRTYRING_NO_SHARED_MEMORY',
      message:
        'SharedArrayBuffer is missing: a page needs the headers ' +
        'Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp. ' +
        'A SharedWorker or a service worker may lack it even so: use a page or a dedicated worker',
    })
  })
})

describe('a host that is big-endian', () => {
  it('is refused', () => {
    host.Uint32Array = class extends Uint32Array {
      constructor(words: number[]) {
        super(words)
        new Uint8Array(this.buffer).reverse()
      }
    }
    expect(thrown(checkByteOrder)).toMatchObject({
      code: 'ERR_DIRTYRING_UNSUPPORTED',
      message: 'dirtyring needs a little-endian host: its keys are 64-bit views over 32-bit words',
    })
    host.Uint32Array = Uint32Array
    expect(checkByteOrder).not.toThrow()
  })
})

describe('a host without crypto', () => {
  it('has random words all the same', () => {
    Object.defineProperty(host, 'crypto', { value: undefined, configurable: true })
    const words = randomWords(64)
    expect(new Set(words).size).toBeGreaterThan(60)
    expect(Math.max(...words)).toBeGreaterThan(2 ** 28)
  })
})

describe('a host without the memory that is asked for', () => {
  const cause = new RangeError('Array buffer allocation failed')

  it('is an error that names the options of a tracker, and where their size is told', () => {
    expect(thrown(() => allocate(2 ** 53))).toMatchObject({
      code: 'ERR_DIRTYRING_OUT_OF_RANGE',
      message:
        '"options" must be of a size that this machine has the memory for, in bytes, got ' +
        '9007199254740992. memoryFootprint() says how many bytes each option takes.',
      cause: expect.any(RangeError),
    })
  })

  it('is an error that names the option of a set', () => {
    host.Int32Array = class extends Int32Array {
      constructor(length: number) {
        if (length > 2 ** 16) throw cause
        super(length)
      }
    }
    expect(thrown(() => new FingerprintSet({ expectedKeys: 2 ** 20 }))).toMatchObject({
      code: 'ERR_DIRTYRING_OUT_OF_RANGE',
      message: expect.stringMatching(
        /^"options.expectedKeys" must be a size that this machine has the memory for, in bytes, got \d{8}$/,
      ),
      cause,
    })
  })
})

describe('runtimeSupport()', () => {
  it('says that a thread of Node can do all', () => {
    expect(runtimeSupport()).toEqual(all)
  })

  it('says of each thing that it is missing, and never throws', () => {
    host.SharedArrayBuffer = undefined
    expect(runtimeSupport()).toEqual({ ...all, sharedMemory: false })
    host.SharedArrayBuffer = SharedArrayBuffer
    jest.spyOn(platform, 'canBlock').mockReturnValue(false)
    expect(runtimeSupport()).toEqual({ ...all, canBlock: false })
    jest.restoreAllMocks()
    host.WebAssembly = undefined
    expect(runtimeSupport()).toEqual({ ...all, wasm: false })
  })

  it('says that a policy forbids WebAssembly to compile', () => {
    host.WebAssembly = {
      Module: function () {
        throw new Error('a policy')
      },
    }
    expect(runtimeSupport()).toEqual({ ...all, wasm: false })
  })
})
