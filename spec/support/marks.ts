import type { TxnBuffer, Writer } from '../../lib/index.js'

/** One call of every kind that marks or stages keys, none inside batch(). */
export function everyKindOfMark(writer: Writer, txn: TxnBuffer): (() => unknown)[] {
  return [
    () => writer.mark(2),
    () => writer.mark(2, 0),
    () => writer.markFingerprint(2n),
    () => writer.markKey('a'),
    () => writer.markMany([2]),
    () => writer.markMany([]),
    () => writer.markLanes(new Uint32Array(2)),
    () => writer.begin(2),
    () => txn.flushTo(writer),
  ]
}
