/**
 * A table of fixed-size rows in shared memory, written without locks. It stands for your own store.
 */
export class Store {
  readonly #words: Int32Array
  readonly #rowWords: number

  constructor(
    readonly buffer: SharedArrayBuffer,
    readonly rowBytes: number,
  ) {
    this.#words = new Int32Array(buffer)
    this.#rowWords = rowBytes / 4
  }

  static create(rows: number, rowBytes: number): Store {
    return new Store(new SharedArrayBuffer(rows * rowBytes), rowBytes)
  }

  get rows(): number {
    return this.#words.length / this.#rowWords
  }

  write(row: number, value: number): void {
    const words = this.#words
    const start = row * this.#rowWords
    for (let i = 0; i < this.#rowWords; i++) words[start + i] = value + i
  }

  /**
   * Copies a row. A writer may be writing the row, so the copy may be half old and half new. That
   * does no harm: the writer marks the row after its write. So the row is in a later epoch and is
   * copied again.
   */
  copyRow(row: number, to: Store): void {
    const from = this.#words
    const into = to.#words
    const end = (row + 1) * this.#rowWords
    for (let i = row * this.#rowWords; i < end; i++) into[i] = from[i]
  }

  /** Returns the number of rows that are not equal, byte for byte. */
  differingRows(other: Store): number {
    let differing = 0
    for (let row = 0; row < this.rows; row++) {
      const end = (row + 1) * this.#rowWords
      for (let i = row * this.#rowWords; i < end; i++) {
        if (this.#words[i] === other.#words[i]) continue
        differing++
        break
      }
    }
    return differing
  }
}
