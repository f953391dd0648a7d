import { DirtyRingError } from './errors.js'

/**
 * Keys are 64-bit views over 32-bit words. On a big-endian host they would be other keys.
 *
 * @throws ERR_DIRTYRING_UNSUPPORTED on such a host.
 */
export function checkByteOrder(): void {
  if (new Uint8Array(new Uint32Array([1]).buffer)[0] === 1) return
  throw new DirtyRingError(
    'ERR_DIRTYRING_UNSUPPORTED',
    'dirtyring needs a little-endian host: its keys are 64-bit views over 32-bit words',
  )
}
