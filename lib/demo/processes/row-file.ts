import { closeSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs'

/**
 * Rows of a fixed size in a file. It stands for the database of your own: what is written stays,
 * also when the process that wrote it is killed.
 */
export class RowFile {
  readonly #file: number
  readonly #row: Buffer

  constructor(
    path: string,
    readonly rows: number,
    readonly rowBytes: number,
  ) {
    this.#file = openSync(path, 'a+')
    closeSync(this.#file)
    this.#file = openSync(path, 'r+')
    ftruncateSync(this.#file, rows * rowBytes)
    this.#row = Buffer.alloc(rowBytes)
  }

  /** Writes one row: its number and `value`, again and again. */
  write(row: number, value: number): void {
    for (let at = 0; at < this.rowBytes; at += 4) this.#row.writeInt32LE((value + at) | 0, at)
    writeSync(this.#file, this.#row, 0, this.rowBytes, row * this.rowBytes)
  }

  /** Reads rows one after another, as many as fit. */
  read(row: number, into: Uint8Array): void {
    readSync(this.#file, into, 0, into.length, row * this.rowBytes)
  }

  close(): void {
    closeSync(this.#file)
  }
}
