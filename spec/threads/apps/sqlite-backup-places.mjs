/** Words that a writer shares with the main thread. */
export const [PLACE, TRANSACTIONS, DYING, WORDS] = [0, 1, 2, 3]

/** How far the transaction at hand has come. */
export const [OUTSIDE, MARKED, BEGUN, WRITTEN, COMMITTED] = [0, 1, 2, 3, 4]
