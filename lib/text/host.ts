// The host's writers and readers of text, as they were when the library was loaded. Each is used
// only after it has shown that it works: a host may have none, and a test environment may have a
// replacement that lacks half of it.

interface Encoder {
  encodeInto(text: string, into: Uint8Array): { read: number; written: number }
}
interface Decoder {
  decode(bytes: Uint8Array): string
}
/** The parts of Node's Buffer that are used. Bun and Deno have them too. */
export interface HostBuffer extends Uint8Array {
  write(text: string, at: number): number
  latin1Slice(from: number, to: number): string
  utf8Slice(from: number, to: number): string
}
interface Host {
  TextEncoder?: new () => Encoder
  TextDecoder?: new (label: string, options: { ignoreBOM: boolean }) => Decoder
  Buffer?: { from(memory: ArrayBufferLike): HostBuffer }
}

const host = globalThis as unknown as Host

/** Undefined where the host has none that works. */
export const encoder: Encoder | undefined = working(() => {
  const made = new host.TextEncoder!()
  const bytes = new Uint8Array(4)
  const { read, written } = made.encodeInto('é', bytes)
  return read === 1 && written === 2 && bytes[0] === 0xc3 && bytes[1] === 0xa9 ? made : undefined
})

/** Undefined where the host has none that works. */
export const decoder: Decoder | undefined = working(() => {
  const made = new host.TextDecoder!('utf-8', { ignoreBOM: true })
  const text = made.decode(Uint8Array.of(0xef, 0xbb, 0xbf, 0xc3, 0xa9))
  return text === '\ufeffé' ? made : undefined
})

/** A Buffer over memory. Undefined where the host has none that works. */
export const bufferOver: ((memory: ArrayBufferLike) => HostBuffer) | undefined = working(() => {
  const { Buffer } = host
  const made = Buffer!.from(new ArrayBuffer(4))
  const works =
    made.write('aé', 1) === 3 &&
    made.utf8Slice(1, 4) === 'aé' &&
    made.latin1Slice(1, 3) === 'a\u00c3'
  return works ? (memory: ArrayBufferLike) => Buffer!.from(memory) : undefined
})

function working<T>(make: () => T | undefined): T | undefined {
  try {
    return make()
  } catch {
    return undefined
  }
}
