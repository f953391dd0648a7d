import { describe, expect, it } from '@jest/globals'
import { runProgram } from './support/program.js'

const INVALID = 'ERR_DIRTYRING_INVALID_ARG'

describe('a host', () => {
  it('that is big-endian is refused when the library is loaded, and told why', async () => {
    expect(await runProgram('hosts', { case: 'bigEndian' })).toEqual({
      code: 'ERR_DIRTYRING_UNSUPPORTED',
      message: expect.stringContaining('a little-endian host'),
    })
  })

  it('without Atomics.waitAsync does all the same, and runtimeSupport() says so', async () => {
    expect(await runProgram('hosts', { case: 'withoutWaitAsync' })).toEqual({ waitAsync: false, worker: [100, 101], inline: [100, 101] })
  })

  it.each(['missing', 'forbidden'])('where WebAssembly is %s has the TypeScript kernel, and runtimeSupport() says so', async (how) => {
    expect(await runProgram('hosts', { case: 'withoutWebAssembly', how })).toEqual({
      wasm: false,
      kernel: 'js',
      asked: 'ERR_DIRTYRING_OUT_OF_RANGE',
    })
  })

  it('with two copies of the library: a writer of the one marks for the other, and errors are told apart by code, not by instanceof', async () => {
    expect(await runProgram('hosts', { case: 'copies' })).toEqual({
      ids: [1, 2, 3],
      atomic: true,
      inParts: INVALID,
      left: 1,
      error: { code: 'ERR_DIRTYRING_CLOSED', name: 'DirtyRingError', isOurs: false, isTheirs: true },
    })
  })

  it('that started a worker before the library was loaded: once it has ended, watch() is told that nobody knows its number', async () => {
    expect(await runProgram('hosts', { case: 'late' })).toEqual({
      name: 'TypeError',
      code: INVALID,
      cause: expect.stringContaining('before the library was loaded'),
    })
  })
})
