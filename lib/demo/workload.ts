/**
 * Returns the sum of 1 / rank^theta. With many rows this takes a while, so the main thread computes
 * it once and passes it to the writers.
 */
export function zetaOf(rows: number, theta: number): number {
  let sum = 0
  for (let rank = 1; rank <= rows; rank++) sum += rank ** -theta
  return sum
}

/**
 * Returns a generator of row numbers, distributed as in the YCSB benchmark. With theta 0.99 a few
 * rows are very hot. With theta 0 all rows are equally likely. The method is from Gray et al.,
 * "Quickly generating billion-record synthetic databases", 1994.
 */
export function zipfian(
  rows: number,
  theta: number,
  zeta: number,
  random: () => number,
): () => number {
  const exponent = 1 / (1 - theta)
  const second = 1 + 0.5 ** theta
  const eta = (1 - (2 / rows) ** (1 - theta)) / (1 - second / zeta)
  const stride = strideFor(rows)
  return () => {
    const at = random()
    let rank: number
    if (at * zeta < 1) rank = 0
    else if (at * zeta < second) rank = 1
    else rank = Math.min(rows - 1, Math.floor(rows * (eta * at - eta + 1) ** exponent))
    // Scramble the rank, so that hot rows are not neighbours. YCSB hashes it, but then a third of
    // the rows would have no rank.
    return (rank * stride) % rows
  }
}

/**
 * Returns a number near the golden section of `rows` that has no factor in common with `rows`. So
 * its multiples visit every row.
 */
function strideFor(rows: number): number {
  let stride = Math.max(1, Math.round(rows * 0.618))
  while (greatestCommonDivisor(stride, rows) !== 1) stride++
  return stride
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b)
}
