/**
 * Times in ms, of this thread: after them it gives something up, or says that it waits. Specs
 * shorten them.
 */
export const patience = {
  /**
   * A writer on the tracker's own thread, for a sign of life from the aggregator: this thread
   * cannot start another one while it sleeps.
   */
  noProgressMs: 2000,
  /** The tracker, for a sign of life from a worker whose end the host does not report. */
  silenceMs: 5000,
  /** A promise of the tracker, before a process warning says what it waits for. */
  warningMs: 10_000,
}
