import { afterEach, describe, expect, it, jest } from '@jest/globals'
import { runtimeSupport } from '../../lib/index.js'
import { platform } from '../../lib/platform/current.js'

const all = { sharedMemory: true, canBlock: true, waitAsync: true, wasm: true }
const host = globalThis as Record<string, unknown>
const { SharedArrayBuffer, WebAssembly } = host

afterEach(() => {
  Object.assign(host, { SharedArrayBuffer, WebAssembly })
  jest.restoreAllMocks()
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
