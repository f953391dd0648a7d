import type { TxnBuffer, Writer } from '../../lib/index.js'

/** One call of every kind that marks or stages keys, none inside batch(). */
export function everyKindOfMark(writer: Writer, txn: TxnBuffer): (() => unknown)[] {
  return [
    () => writer.mark(2),
    () => writer.mark(2n),
    () => writer.mark('a'),
    () => writer.markPair(2, 0),
    () => writer.markMany([2]),
    () => writer.markMany([]),
    () => writer.markPairs(new Uint32Array(2)),
    () => writer.tagTxn(2),
    () => txn.flushTo(writer),
  ]
}
