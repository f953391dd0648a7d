/**
 * Rows of the transactions: an id each, which tells the writer, its transaction, and the place in
 * it.
 */
export const LANE_CAPACITY = 256
/** A transaction of more rows than a lane takes. */
export const ROWS_MAX = 1000

/**
 * What becomes of a transaction, in the store. Nothing is written of one whose marks were cleared.
 */
export const COMMITTED = 1
/**
 * Its marks are published, as those of a batch() that throws are: rows too many are saved, which is
 * harmless.
 */
export const ROLLED_BACK = 2

const PLACES = 1024
const TRANSACTIONS = 2 ** 20

export function rowOf(writer, transaction, place) {
  return (writer * TRANSACTIONS + transaction) * PLACES + place
}

export function readRow(row) {
  const rest = Math.floor(row / PLACES)
  return { writer: Math.floor(rest / TRANSACTIONS), transaction: rest % TRANSACTIONS }
}

/**
 * How many rows a transaction writes: mostly a few, now and then as many as a lane takes, or more.
 */
export function sizeOf(writer, transaction) {
  if (transaction % 97 === 96) return ROWS_MAX
  return transaction % 31 === 30 ? LANE_CAPACITY : 1 + ((transaction * 7 + writer * 3) % 40)
}
