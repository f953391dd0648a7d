/**
 * What all handles have in common: a version under a name of their kind's own, and a
 * SharedArrayBuffer.
 */
import { badHandle, describe, type ErrorCode, isRevoked } from '../errors.js'

/** A kind of handle. */
export interface HandleKind {
  /** What has such handles, as errors call it: 'tracker' for tracker.handle. */
  readonly of: string
  /** The handle's property that holds the version. */
  readonly versionName: string
  readonly version: number
  /** What the version is of, as errors call it. */
  readonly layout: string
}

/** A handle of the right kind and version. What is in the buffer is not checked yet. */
export interface Handle {
  readonly buffer: SharedArrayBuffer
  readonly native: unknown
}

/**
 * Checks a handle that some thread sent.
 *
 * @throws TypeError `ERR_DIRTYRING_BAD_HANDLE`, `ERR_DIRTYRING_VERSION`
 */
export function checkHandle(handle: unknown, kind: HandleKind): Handle {
  const source = `${kind.of}.handle`
  if (typeof handle !== 'object' || handle === null)
    throw badHandle(`"handle" must be ${source}, got ${describe(handle)}`)
  if (isRevoked(handle) || !(kind.versionName in handle)) {
    throw badHandle(
      `"handle" must be ${source}, got another object. ` +
        `Pass ${source} in workerData or postMessage, not the ${kind.of} itself.`,
    )
  }
  const { buffer, native } = handle as { buffer?: unknown; native?: unknown }
  checkVersion((handle as Readonly<Record<string, unknown>>)[kind.versionName], kind)
  if (!isSharedBuffer(buffer)) {
    throw badHandle(
      `"handle.buffer" must be a SharedArrayBuffer, got ${describe(buffer)}. ` +
        'A handle works between the threads of one process only, and not as JSON.',
    )
  }
  return { buffer, native }
}

/** Throws ERR_DIRTYRING_VERSION for another version than the kind's. */
export function checkVersion(version: unknown, kind: HandleKind): void {
  if (version === kind.version) return
  const code: ErrorCode = 'ERR_DIRTYRING_VERSION'
  const message =
    `"handle" must be of ${kind.layout} version ${kind.version}, got ${describe(version)}. ` +
    'Two versions of dirtyring are loaded.'
  throw Object.assign(new TypeError(message), { code })
}

/** Also of another realm. */
export function isSharedBuffer(value: unknown): value is SharedArrayBuffer {
  return Object.prototype.toString.call(value) === '[object SharedArrayBuffer]'
}
