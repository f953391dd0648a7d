import { open, readFile, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { DirtyTracker } from './tracker/tracker.js'

/**
 * Writes what the consumers of a stopped tracker have not dealt with into a file, for
 * {@link loadState} at the next start. Either the whole file is there afterwards, also if the
 * machine loses its power, or the one before.
 *
 * @param path - the file; its folder exists
 * @param tracker - one whose stop() has resolved
 * @returns a promise that resolves when the file is on the disk
 * @throws (rejects with) `ERR_DIRTYRING_BUSY` before stop() has resolved, and what node:fs rejects
 * with
 *
 * @example
 * ```js
 * import { tmpdir } from 'node:os'
 * import { join } from 'node:path'
 * import { DirtyTracker } from 'dirtyring'
 * import { loadState, saveState } from 'dirtyring/node'
 *
 * const path = join(tmpdir(), 'dirtyring.state') // better beside the data
 * const tracker = await DirtyTracker.create({ maxConsumers: 1, resume: await loadState(path) })
 * // …
 * await tracker.stop()
 * await saveState(path, tracker)
 * ```
 */
export async function saveState(
  path: string | URL,
  tracker: Pick<DirtyTracker, 'save'>,
): Promise<void> {
  const bytes = tracker.save()
  const target = pathOf(path)
  const temporary = `${target}.new`
  const file = await open(temporary, 'w')
  try {
    await file.writeFile(bytes)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, target)
  await syncFolderOf(target)
}

/**
 * Reads the file that {@link saveState} wrote, for the option `resume`. Renames it to `PATH.loaded`
 * before it returns. A process that crashes later therefore finds no file at its next start, and its
 * consumers are fresh: they would miss what was marked since the file was written.
 *
 * @param path - the file
 * @returns a promise of the bytes; of undefined if there is no file
 * @throws (rejects with) what node:fs rejects with, except for a missing file
 *
 * @example
 * ```js
 * import { loadState } from 'dirtyring/node'
 *
 * console.log(await loadState('first-start.state')) // undefined
 * ```
 */
export async function loadState(path: string | URL): Promise<Uint8Array | undefined> {
  const target = pathOf(path)
  const loaded = `${target}.loaded`
  try {
    await rename(target, loaded)
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined
    throw error
  }
  await syncFolderOf(target)
  return readFile(loaded)
}

function pathOf(path: string | URL): string {
  return typeof path === 'string' ? path : fileURLToPath(path)
}

/** Brings a rename to the disk. Windows does so by itself, and opens no folder. */
async function syncFolderOf(path: string): Promise<void> {
  let folder
  try {
    folder = await open(dirname(path), 'r')
    await folder.sync()
  } catch (error) {
    if (!['EISDIR', 'EPERM', 'EACCES', 'EINVAL'].includes(errorCode(error))) throw error
  } finally {
    await folder?.close()
  }
}

function errorCode(error: unknown): string {
  return String((error as { readonly code?: unknown }).code)
}
