/**
 * Sum of 1 / rank^theta: takes a while for many rows, so it is done once and handed to the writers.
 */
export function zetaOf(rows: number, theta: number): number {
  let sum = 0
  for (let rank = 1; rank <= rows; rank++) sum += rank ** -theta
  return sum
}

/**
 * Row numbers as the YCSB benchmark draws them: a few are very hot (theta .99), or all alike (theta
 * 0). The method is that of Gray et al., "Quickly generating billion-record synthetic databases",
 * 1994.
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
    // Scrambled, so that hot rows are not neighbours. YCSB hashes the rank, which would leave a
    // third of the rows without any.
    return (rank * stride) % rows
  }
}

/**
 * About the golden section of `rows`, with no factor in common: multiples of it visit every row.
 */
function strideFor(rows: number): number {
  let stride = Math.max(1, Math.round(rows * 0.618))
  while (greatestCommonDivisor(stride, rows) !== 1) stride++
  return stride
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b)
}
