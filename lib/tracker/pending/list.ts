/** Removes and returns the first element for which `isSo` is true; undefined if there is none. */
export function removeFirst<T>(list: T[], isSo: (each: T) => boolean): T | undefined {
  const at = list.findIndex(isSo)
  return at < 0 ? undefined : list.splice(at, 1)[0]
}
