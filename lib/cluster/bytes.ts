/** Writes numbers and short texts one after the other. */
export class ByteWriter {
  #bytes = new Uint8Array(256)
  #length = 0

  /** What was written. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length)
  }

  byte(value: number): void {
    this.#room(1)[this.#length++] = value
  }

  /** A whole number from 0 to 2^53 - 1, 7 bits a byte. */
  varint(value: number): void {
    let rest = value
    for (; rest >= 128; rest = Math.floor(rest / 128)) this.byte((rest % 128) | 128)
    this.byte(rest)
  }

  word(value: number): void {
    const bytes = this.#room(4)
    new DataView(bytes.buffer).setUint32(this.#length, value, true)
    this.#length += 4
  }

  float(value: number): void {
    const bytes = this.#room(8)
    new DataView(bytes.buffer).setFloat64(this.#length, value, true)
    this.#length += 8
  }

  /** Its length and its UTF-16 units. */
  text(text: string): void {
    this.varint(text.length)
    for (let i = 0; i < text.length; i++) this.varint(text.charCodeAt(i))
  }

  /** 32 hexadecimal digits. */
  instance(instance: string): void {
    for (let i = 0; i < 32; i += 2) this.byte(parseInt(instance.slice(i, i + 2), 16))
  }

  /** A list of whole numbers; undefined is another list than an empty one. */
  list(list: readonly number[] | undefined): void {
    this.varint(list === undefined ? 0 : list.length + 1)
    for (const each of list ?? []) this.varint(each)
  }

  #room(count: number): Uint8Array<ArrayBuffer> {
    if (this.#length + count <= this.#bytes.length) return this.#bytes
    const larger = new Uint8Array(2 * this.#bytes.length)
    larger.set(this.#bytes)
    return (this.#bytes = larger)
  }
}

/** Reads what a ByteWriter wrote. Throws a RangeError beyond the end. */
export class ByteReader {
  readonly #view: DataView
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get isAtEnd(): boolean {
    return this.#at === this.#view.byteLength
  }

  byte(): number {
    return this.#view.getUint8(this.#at++)
  }

  varint(): number {
    let value = 0
    for (let unit = 1; ; unit *= 128) {
      const byte = this.byte()
      value += (byte & 127) * unit
      if (value > Number.MAX_SAFE_INTEGER) throw new RangeError('a number beyond 2^53 - 1')
      if (byte < 128) return value
    }
  }

  word(): number {
    this.#at += 4
    return this.#view.getUint32(this.#at - 4, true)
  }

  float(): number {
    this.#at += 8
    return this.#view.getFloat64(this.#at - 8, true)
  }

  text(): string {
    let text = ''
    for (let left = this.varint(); left > 0; left--) text += String.fromCharCode(this.varint())
    return text
  }

  instance(): string {
    let text = ''
    for (let i = 0; i < 16; i++) text += this.byte().toString(16).padStart(2, '0')
    return text
  }

  list(): number[] | undefined {
    const length = this.varint()
    return length === 0 ? undefined : Array.from({ length: length - 1 }, () => this.varint())
  }
}
