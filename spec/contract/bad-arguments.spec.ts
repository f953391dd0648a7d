import { describe, expect, it } from '@jest/globals'
import { DirtyTracker, TxnBuffer, type Writer } from '../../lib/index.js'
import { expectError, INVALID_ARG, OUT_OF_RANGE } from '../support/bad-input.js'
import { openInline, rejected, thrown } from '../support/in-process.js'

describe("C11: arguments of the tracker's methods", () => {
  it.each<
    [
      what: string,
      call: (tracker: DirtyTracker) => unknown,
      kind: { name: string; code: string },
      part: string,
    ]
  >([
    [
      'advanceEpoch(null)',
      (t) => t.advanceEpoch(null as never),
      INVALID_ARG,
      '"options" must be a plain object, got null',
    ],
    [
      'advanceEpoch(5)',
      (t) => t.advanceEpoch(5 as never),
      INVALID_ARG,
      '"options" must be a plain object, got 5',
    ],
    [
      'advanceEpoch: signal {}',
      (t) => t.advanceEpoch({ signal: {} as never }),
      INVALID_ARG,
      '"options.signal" must be an AbortSignal',
    ],
    [
      'advanceEpoch: a controller',
      (t) => t.advanceEpoch({ signal: new AbortController() as never }),
      INVALID_ARG,
      '"options.signal"',
    ],
    [
      'advanceEpoch: signal null',
      (t) => t.advanceEpoch({ signal: null as never }),
      INVALID_ARG,
      '"options.signal"',
    ],
    [
      'advanceEpoch: onBusy',
      (t) => t.advanceEpoch({ onBusy: 'no' as never }),
      OUT_OF_RANGE,
      `"options.onBusy" must be 'wait' or 'reject', got "no"`,
    ],
    [
      'advanceEpoch: onBusy 5',
      (t) => t.advanceEpoch({ onBusy: 5 as never }),
      INVALID_ARG,
      '"options.onBusy"',
    ],
    [
      'consume()',
      (t) => t.consume(undefined as never),
      INVALID_ARG,
      '"use" must be a function, got undefined',
    ],
    [
      'consume: a promise',
      (t) => t.consume(Promise.resolve() as never),
      INVALID_ARG,
      '"use" must be a function',
    ],
    [
      'consume: options',
      (t) => t.consume(() => 1, { onBusy: 'x' as never }),
      OUT_OF_RANGE,
      '"options.onBusy"',
    ],
    [
      'epochs()',
      (t) => t.epochs(undefined as never),
      INVALID_ARG,
      '"options" must be a plain object, got undefined',
    ],
    [
      'epochs({})',
      (t) => t.epochs({} as never),
      INVALID_ARG,
      '"options.everyMs" must be a number, got undefined',
    ],
    [
      'epochs: everyMs text',
      (t) => t.epochs({ everyMs: '5' as never }),
      INVALID_ARG,
      '"options.everyMs" must be a number, got "5"',
    ],
    ['epochs: everyMs -1', (t) => t.epochs({ everyMs: -1 }), OUT_OF_RANGE, '"options.everyMs"'],
    ['epochs: everyMs NaN', (t) => t.epochs({ everyMs: NaN }), OUT_OF_RANGE, '"options.everyMs"'],
    [
      'epochs: everyMs 1.5',
      (t) => t.epochs({ everyMs: 1.5 }),
      OUT_OF_RANGE,
      '0 to 2147483647, got 1.5',
    ],
    [
      'epochs: everyMs too long',
      (t) => t.epochs({ everyMs: 2 ** 31 }),
      OUT_OF_RANGE,
      '0 to 2147483647, got 2147483648',
    ],
    [
      'epochs: signal',
      (t) => t.epochs({ everyMs: 1, signal: 'x' as never }),
      INVALID_ARG,
      '"options.signal"',
    ],
    [
      'epochs: skipEmpty',
      (t) => t.epochs({ everyMs: 1, skipEmpty: 1 as never }),
      INVALID_ARG,
      '"options.skipEmpty" must be a boolean, got 1',
    ],
    [
      'drained(null)',
      (t) => t.drained(null as never),
      INVALID_ARG,
      '"options" must be a plain object',
    ],
    ['drained: signal', (t) => t.drained({ signal: 5 as never }), INVALID_ARG, '"options.signal"'],
    [
      'flushed(null)',
      (t) => t.flushed(null as never),
      INVALID_ARG,
      '"options" must be a plain object',
    ],
    ['flushed: signal', (t) => t.flushed({ signal: {} as never }), INVALID_ARG, '"options.signal"'],
    [
      'reap()',
      (t) => t.reap(undefined as never),
      INVALID_ARG,
      '"writerId" must be a number, got undefined',
    ],
    [
      'reap(-1)',
      (t) => t.reap(-1),
      OUT_OF_RANGE,
      '"writerId" must be a whole number from 0 to 7 (maxWriters - 1), got -1',
    ],
    [
      'on()',
      (t) => t.on(undefined as never, () => undefined),
      INVALID_ARG,
      `"event" must be 'epoch', 'overflow'`,
    ],
    [
      'on: no such event',
      (t) => t.on('sealed' as never, () => undefined),
      OUT_OF_RANGE,
      `"event" must be 'epoch', 'overflow'`,
    ],
    [
      'on: no listener',
      (t) => t.on('epoch', 5 as never),
      INVALID_ARG,
      '"listener" must be a function, got 5',
    ],
    ['stop(null)', (t) => t.stop(null as never), INVALID_ARG, '"options" must be a plain object'],
    [
      'stop: graceMs text',
      (t) => t.stop({ graceMs: '5' as never }),
      INVALID_ARG,
      '"options.graceMs" must be a number, got "5"',
    ],
    ['stop: graceMs -1', (t) => t.stop({ graceMs: -1 }), OUT_OF_RANGE, '"options.graceMs"'],
    ['stop: graceMs Infinity', (t) => t.stop({ graceMs: Infinity }), OUT_OF_RANGE, 'got Infinity'],
    ['watch(undefined)', (t) => t.watch(undefined), INVALID_ARG, '"worker" must be'],
    ['watch({})', (t) => t.watch({}), INVALID_ARG, '"worker" must be'],
    [
      'watch(a thread id)',
      (t) => t.watch(3),
      INVALID_ARG,
      '"worker" must be a Worker of node:worker_threads, got 3',
    ],
  ])('%s is one clear error, and nothing has changed', async (_, call, kind, part) => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.mark(1)
    const before = tracker.stats()
    expectError(await rejected((async () => call(tracker))()), kind, part)
    expect(tracker.stats()).toEqual(before)
    expect([tracker.epoch, writer.staged, tracker.health().state]).toEqual([0, 1, 'running'])
    expect([...(await tracker.advanceEpoch()).bigints]).toEqual([1n])
  })

  it.each<
    [
      what: string,
      call: (writer: Writer) => unknown,
      kind: { name: string; code: string },
      part: string,
    ]
  >([
    [
      'markMany: options',
      (w) => w.markMany([1], null as never),
      INVALID_ARG,
      '"options" must be a plain object, got null',
    ],
    [
      'markMany: atomic',
      (w) => w.markMany([1], { atomic: 0 as never }),
      INVALID_ARG,
      '"options.atomic" must be a boolean, got 0',
    ],
    [
      'markLanes: atomic',
      (w) => w.markPairs(new Uint32Array(2), { atomic: 'no' as never }),
      INVALID_ARG,
      '"options.atomic"',
    ],
    [
      'flushTo: atomic',
      (w) => new TxnBuffer(1).flushTo(w, { atomic: null as never }),
      INVALID_ARG,
      '"options.atomic"',
    ],
    [
      'reset()',
      () => new TxnBuffer(1).reset(null as never),
      INVALID_ARG,
      '"txnId" must be a number or a bigint, got null',
    ],
    [
      'batch()',
      (w) => w.batch(undefined as never),
      INVALID_ARG,
      '"use" must be a function, got undefined',
    ],
    [
      'waitForRoom: text',
      (w) => w.waitForRoom('1' as never),
      INVALID_ARG,
      '"keys" must be a number, got "1"',
    ],
    [
      'waitForRoom(0)',
      (w) => w.waitForRoom(0),
      OUT_OF_RANGE,
      '"keys" must be a whole number from 1 to 1024 (laneCapacity), got 0',
    ],
    ['waitForRoom: too many', (w) => w.waitForRoom(1025), OUT_OF_RANGE, 'got 1025'],
    [
      'waitForRoom: signal',
      (w) => w.waitForRoom(1, { signal: 5 as never }),
      INVALID_ARG,
      '"options.signal"',
    ],
  ])('of a writer: %s is one clear error, and nothing has changed', async (_, call, kind, part) => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.mark(1)
    const before = tracker.stats()
    expectError(await rejected((async () => call(writer))()), kind, part)
    expect(tracker.stats()).toEqual(before)
  })

  it('of an epoch: forEachPair() takes a function, also when there is nothing to visit', async () => {
    const epoch = await (await openInline()).advanceEpoch()
    expectError(
      thrown(() => epoch.forEachPair(undefined as never)),
      INVALID_ARG,
      '"visit" must be a function, got undefined',
    )
  })

  it('epochs() throws at once, not at the first epoch', async () => {
    const tracker = await openInline()
    expectError(
      thrown(() => tracker.epochs({ everyMs: -1 })),
      OUT_OF_RANGE,
      '"options.everyMs"',
    )
  })
})
