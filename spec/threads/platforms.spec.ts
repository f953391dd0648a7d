import { describe, expect, it } from '@jest/globals'
import { runProgram } from '../support/program.js'

const INVALID = 'ERR_DIRTYRING_INVALID_ARG'

describe('a host', () => {
  it('that is big-endian is refused when the library is loaded, and told why', async () => {
    expect(await runProgram('platforms', { case: 'bigEndian' })).toEqual({
      code: 'ERR_DIRTYRING_UNSUPPORTED',
      message: expect.stringContaining('a little-endian host'),
    })
  })

  it('whose prototypes are frozen has trackers that stop, rings that are walked, and errors with their names', async () => {
    expect(await runProgram('platforms', { case: 'frozen' })).toEqual({
      ids: [1],
      words: ['5'],
      waiting: 'ERR_DIRTYRING_OUT_OF_RANGE',
      error: { name: 'DirtyRingError', code: 'ERR_DIRTYRING_STOPPED' },
      full: 'ERR_DIRTYRING_DICTIONARY_FULL',
    })
  })

  it('without TextEncoder, Worker, performance, crypto and queueMicrotask, with timers and without, loads the library, and does what it can', async () => {
    expect(await runProgram('platforms', { case: 'bare' })).toEqual({
      bare: {
        canBlock: true,
        added: 2,
        fingerprint: true,
        ids: [0, 1, 0],
        text: ['é', 'a'],
        pushed: true,
      },
      epochs: [0, 1].map(() => ({ has: [true, true, true, false], last: 0 })),
      aggregator: {
        code: 'ERR_DIRTYRING_AGGREGATOR_FAILED',
        cause: expect.stringContaining('pass aggregator: "inline"'),
      },
    })
  })

  it('whose process object goes away after the library was loaded runs both kinds of aggregator', async () => {
    expect(await runProgram('platforms', { case: 'withoutProcess' })).toEqual([0, 1])
  })

  it('whose permissions forbid threads is told the two ways out, and one of them works', async () => {
    const major = Number(process.versions.node.split('.')[0])
    const permission = major < 24 ? '--experimental-permission' : '--permission'
    const execArgv = [permission, '--allow-fs-read=*', '--allow-addons', '--allow-child-process']
    expect(await runProgram('platforms', { case: 'withoutThreads' }, { execArgv })).toEqual({
      code: 'ERR_DIRTYRING_AGGREGATOR_FAILED',
      message:
        "the aggregator cannot be started: Node's permissions forbid threads. " +
        'Start Node with --allow-worker, or pass aggregator: "inline"',
      cause: 'ERR_ACCESS_DENIED',
      ids: [1],
    })
  })

  it('without Atomics.waitAsync does all the same, and runtimeSupport() says so', async () => {
    expect(await runProgram('platforms', { case: 'withoutWaitAsync' })).toEqual({
      waitAsync: false,
      worker: [100, 101],
      inline: [100, 101],
    })
  })

  it.each(['missing', 'forbidden'])(
    'where WebAssembly is %s has the TypeScript kernel, and runtimeSupport() says so',
    async (how) => {
      expect(await runProgram('platforms', { case: 'withoutWebAssembly', how })).toEqual({
        wasm: false,
        kernel: 'js',
        asked: 'ERR_DIRTYRING_OUT_OF_RANGE',
      })
    },
  )

  it('with two copies of the library: a writer of the one marks for the other, and errors are told apart by code, not by instanceof', async () => {
    expect(await runProgram('platforms', { case: 'copies' })).toEqual({
      ids: [1, 2, 3],
      atomic: true,
      inParts: INVALID,
      left: 1,
      error: {
        code: 'ERR_DIRTYRING_CLOSED',
        name: 'DirtyRingError',
        isOurs: false,
        isTheirs: true,
      },
    })
  })

  it('that started a worker before the library was loaded: once it has ended, watch() says that its number is unknown', async () => {
    expect(await runProgram('platforms', { case: 'late' })).toEqual({
      name: 'TypeError',
      code: INVALID,
      cause: expect.stringContaining('before the library was loaded'),
    })
  })
})
