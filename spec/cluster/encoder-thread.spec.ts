import { EventEmitter } from 'node:events'
import * as threads from 'node:worker_threads'
import { afterEach, describe, expect, it, jest } from '@jest/globals'
import type { EncoderOptions, Job } from '../../lib/cluster/encoder.js'
import type { SealedEpoch } from '../../lib/epochs/sealed-epoch.js'

/** A thread that does what a spec says. */
class FakeWorker extends EventEmitter {
  readonly script: URL
  readonly options: unknown
  readonly jobs: Job[] = []
  isReferenced = true
  isTerminated = false

  constructor(script: URL, options: unknown) {
    super()
    if (refusal !== undefined) throw refusal as Error
    this.script = script
    this.options = options
    workers.push(this)
  }

  postMessage(job: Job): void {
    this.jobs.push(job)
  }

  ref(): void {
    this.isReferenced = true
  }

  unref(): void {
    this.isReferenced = false
  }

  async terminate(): Promise<number> {
    this.isTerminated = true
    this.emit('exit', 1)
    return 1
  }
}

const workers: FakeWorker[] = []
let refusal: unknown

jest.unstable_mockModule('node:worker_threads', () => ({ ...threads, Worker: FakeWorker }))
const { createEncoder } = await import('../../lib/cluster/encoder.js')
const { encodeSealed } = await import('../../lib/epochs/sealed-epoch.js')
const { isPending, openInline, range, rejected } = await import('../support/in-process.js')

afterEach(() => {
  workers.length = 0
  refusal = undefined
})

async function epochOf(size: number): Promise<SealedEpoch<any>> {
  const tracker = await openInline()
  tracker.openWriter().markMany(range(0, size))
  return tracker.advanceEpoch()
}

function make(options: EncoderOptions = {}) {
  const warnings: string[] = []
  const onWarning = (warning: string): void => void warnings.push(warning)
  const encoder = createEncoder({ onThreadFrom: 2, onWarning, ...options })
  return { encoder, warnings }
}

const ALONE = (why: string): string =>
  `the thread that encodes large epochs does not run (${why}), so they are encoded on the ` +
  "publisher's thread"
const ANSWER = [Uint8Array.of(1)]

describe("a publisher's encoder and its thread", () => {
  it('encode large epochs there, and are alive while one is pending', async () => {
    const { encoder, warnings } = make()
    const small = await epochOf(1)
    expect(await encoder.encodeEpoch(small)).toEqual(encodeSealed(small, {}))
    expect(workers.length).toBe(0)
    const epoch = await epochOf(2)
    const options = { maxBytes: 5000 }
    const [first, second] = [encoder.encodeEpoch(epoch, options), encoder.encodeEpoch(epoch)]
    const [worker, ...more] = workers
    expect([worker.script.href, more.length]).toEqual([
      expect.stringMatching(/\/cluster\/encode-worker\.js$/),
      0,
    ])
    expect(worker.options).toEqual({ name: 'dirtyring-encoder', stdin: false, execArgv: [] })
    expect(worker.jobs).toEqual([
      { id: 1, handle: epoch.handle, options },
      { id: 2, handle: epoch.handle, options: {} },
    ])
    worker.emit('message', { id: 2, messages: ANSWER })
    expect(await second).toBe(ANSWER)
    expect([worker.isReferenced, await isPending(first)]).toEqual([true, true])
    worker.emit('message', { id: 1, messages: ANSWER })
    expect(await first).toBe(ANSWER)
    expect(worker.isReferenced).toBe(false)
    const third = encoder.encodeEpoch(epoch)
    expect([worker.isReferenced, workers.length]).toEqual([true, 1])
    worker.emit('message', { id: 3, messages: ANSWER })
    await third
    await encoder.close()
    expect([worker.isTerminated, warnings]).toEqual([true, []])
  })

  it('reject with what the thread says', async () => {
    const { encoder } = make()
    const epoch = await epochOf(2)
    const code = 'ERR_DIRTYRING_SETTLED'
    const errors = [rejected(encoder.encodeEpoch(epoch)), rejected(encoder.encodeEpoch(epoch))]
    workers[0].emit('message', { id: 1, code, message: 'gone' })
    workers[0].emit('message', { id: 2, code: undefined, message: 'no' })
    expect(await errors[0]).toMatchObject({ name: 'DirtyRingError', code, message: 'gone' })
    expect(await errors[1]).toMatchObject({ name: 'Error', message: 'no' })
  })

  it.each<[string, unknown, string]>([
    ['error', new Error('no module'), 'no module'],
    ['error', 'a text', 'a text'],
    ['exit', 3, 'it ended with 3'],
  ])('go on without the thread after its %s', async (event, what, why) => {
    const { encoder, warnings } = make({ script: new URL('file:///x.js') })
    const [epoch, settled] = [await epochOf(2), await epochOf(3)]
    const [pending, failing] = [encoder.encodeEpoch(epoch), rejected(encoder.encodeEpoch(settled))]
    settled.commit()
    expect(workers[0].script.href).toBe('file:///x.js')
    workers[0].emit(event, what)
    expect(await pending).toEqual(encodeSealed(epoch, {}))
    expect((await failing).code).toBe('ERR_DIRTYRING_SETTLED')
    workers[0].emit('exit', 1)
    for (const late of [{ messages: ANSWER }, { code: undefined, message: 'late' }])
      workers[0].emit('message', { id: 1, ...late })
    expect(await encoder.encodeEpoch(epoch)).toEqual(encodeSealed(epoch, {}))
    expect([workers.length, warnings]).toEqual([1, [ALONE(why)]])
    await encoder.close()
  })

  it('go on without a thread that cannot start, with a listener or without one', async () => {
    refusal = new Error('not allowed')
    const epoch = await epochOf(2)
    const { encoder, warnings } = make()
    for (const each of [encoder, encoder, make({ onWarning: undefined }).encoder])
      expect(await each.encodeEpoch(epoch)).toEqual(encodeSealed(epoch, {}))
    expect(warnings).toEqual([ALONE('not allowed')])
  })

  it('encode what is pending when the encoder is closed, and start no thread then', async () => {
    const { encoder, warnings } = make()
    const epoch = await epochOf(2)
    const pending = encoder.encodeEpoch(epoch)
    await encoder.close()
    expect(await pending).toEqual(encodeSealed(epoch, {}))
    expect(await encoder.encodeEpoch(epoch)).toEqual(encodeSealed(epoch, {}))
    await encoder.close()
    expect([workers.length, warnings]).toEqual([1, []])
  })

  it('start no thread for fewer than 10,000 keys', async () => {
    const encoder = createEncoder()
    const epoch = await epochOf(3)
    expect(await encoder.encodeEpoch(epoch)).toEqual(encodeSealed(epoch, {}))
    expect(workers.length).toBe(0)
    await encoder.close()
  })
})
