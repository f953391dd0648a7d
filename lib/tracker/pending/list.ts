/** Removes and returns the first element for which `isWanted` is true; undefined if there is none. */
export function removeFirst<T>(list: T[], isWanted: (each: T) => boolean): T | undefined {
  const at = list.findIndex(isWanted)
  return at < 0 ? undefined : list.splice(at, 1)[0]
}
