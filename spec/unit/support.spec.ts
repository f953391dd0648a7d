import { afterEach, describe, expect, it, jest } from '@jest/globals'
import { DirtyTracker, runtimeSupport } from '../../lib/index.js'
import { platform } from '../../lib/platform/current.js'

const all = { sharedMemory: true, canBlock: true, waitAsync: true, wasm: true }
const host = globalThis as Record<string, unknown>
const { SharedArrayBuffer, WebAssembly } = host

afterEach(() => {
  Object.assign(host, { SharedArrayBuffer, WebAssembly })
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
