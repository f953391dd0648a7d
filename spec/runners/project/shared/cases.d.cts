interface Library {
  readonly DirtyTracker: unknown
}
declare const shared: {
  readonly cases: Record<string, (library: Library) => Promise<void>>
  withFakeTimers(library: Library): Promise<void>
}
export = shared
