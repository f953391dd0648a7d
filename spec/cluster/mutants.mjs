/**
 * Rules of a cluster, each of them switched off: the histories must find every one. `from` stands
 * once in the file. `at` is a seed of a history that finds a rare one: the search begins there.
 */
export const mutants = [
  // ------------------------------------------------------------------------------- the publisher
  {
    name: 'an epoch is cut again under the number of a message that may be in the log',
    file: 'publication.ts',
    from: 'if (this.#flight !== undefined && !this.#isAsking) this.#flight.isAmbiguous = true',
    to: "if (this.#unit?.what === 'epoch' && !this.#isAsking) {\nthis.#flight = undefined\nthis.#unit = undefined\nthis.cutFailed(nowMs)\n}",
  },
  {
    name: 'a number is used again after an answer is missing',
    file: 'publication.ts',
    from: '  #takeOff(): LogMessage {\n    if (this.#flight !== undefined) return this.#flight.message\n',
    to: '  #takeOff(): LogMessage {\n',
  },
  {
    name: 'a missing answer counts as yes',
    file: 'publication.ts',
    from: '    this.#failures++\n',
    to: '    if (this.#flight !== undefined && !this.#isAsking) return this.appended(nowMs)\n    this.#failures++\n',
  },
  {
    name: 'a refused message counts as appended',
    at: 62,
    file: 'publication.ts',
    from: '    this.#failures = 0\n    this.#isAsking = true\n',
    to: '    this.appended(this.#lastCutMs)\n',
  },
  {
    name: 'the last message is taken for ours by its number, whatever is in it',
    at: 259,
    file: 'publication.ts',
    from: 'last?.n === n && isSame(last.bytes, bytes)',
    to: 'last?.n === n',
  },
  {
    name: 'an epoch is committed before its last part is in the log',
    file: 'publication.ts',
    from: '    if (++unit.done < unit.drafts.length) return\n    this.#unit = undefined\n',
    to: "    if (++unit.done < unit.drafts.length && unit.what !== 'epoch') return\n    this.#unit = undefined\n",
  },
  {
    name: 'CLOSE goes out before the last epoch',
    file: 'publication.ts',
    from: 'this.#cutsBegun + (isCutting ? 0 : 1)',
    to: 'this.#cutsBegun',
  },
  {
    name: 'a beat has no number of its own',
    file: 'publication.ts',
    from: '    this.#n++\n    this.#appendedMs = nowMs\n',
    to: "    if (this.#unit?.what !== 'beat') this.#n++\n    this.#appendedMs = nowMs\n",
  },
  {
    name: 'an idle publisher says nothing',
    file: 'publication.ts',
    from: 'if (nowMs >= beatAtMs) return',
    to: 'if (nowMs >= Infinity) return',
  },
  {
    name: 'the cut under way answers requests that come during it',
    at: 430,
    file: 'publication.ts',
    from: '    const requests = this.#serving\n',
    to: '    const requests = [...this.#serving, ...this.#pending.splice(0)]\n',
  },
  {
    name: 'the first part of an epoch answers',
    at: 56,
    file: 'publication.ts',
    from: 'const own = isLast ? requests.slice(0, REQUESTS_MAX) : []',
    to: 'const own = i === 0 ? requests.slice(0, REQUESTS_MAX) : []',
  },
  {
    name: 'namespaces are declared before the log has them',
    at: 2492,
    file: 'publication.ts',
    from: 'return this.#declared >= ticket',
    to: 'return ticket >= 0',
  },
  {
    name: 'a resumed publisher forgets the message that may be in the log',
    file: 'publication.ts',
    from: '    if (flight === undefined) return\n    this.#flight',
    to: '    if (flight !== null) return\n    this.#flight',
  },
  // ---------------------------------------------------------------------------------- the reader
  {
    name: 'a repeated number is skipped, whatever is in the message',
    at: 204,
    file: 'ledger.ts',
    from: "return known?.crc === crc || this.#isReplay ? 'seen' : 'gap'",
    to: "return 'seen'",
  },
  {
    name: 'a gap is ignored',
    at: 131,
    file: 'ledger.ts',
    from: 'const isNext = n === entry.n + 1 && entry.state !== BURIED',
    to: 'const isNext = n > entry.n && entry.state !== BURIED',
  },
  {
    name: 'what is first met in the middle is believed',
    at: 131,
    file: 'ledger.ts',
    from: 'const isNext = n === entry.n + 1 && entry.state !== BURIED',
    to: 'const isNext = (n === entry.n + 1 || entry.n < 0) && entry.state !== BURIED',
  },
  {
    name: 'CLOSE is believed whatever its number',
    at: 341,
    file: 'ledger.ts',
    from: "    if (verdict === 'gap') {\n      const declared",
    to: "    if (verdict === 'gap' && kind !== KIND.CLOSE) {\n      const declared",
  },
  {
    name: 'nobody is gone',
    at: 89,
    file: 'ledger.ts',
    from: "says !== 'live' && silentMs >= this.#options.goneMs",
    to: "says !== 'live' && silentMs >= Infinity",
  },
  {
    name: 'the clock stands behind parts whose last one is to come',
    at: 1098,
    file: 'ledger.ts',
    from: 'const first = this.#firstParts()\n    const index',
    to: 'const first = undefined as Parts | undefined\n    const index',
  },
  {
    name: 'the clock forgets what was lost and not told',
    at: 4292,
    file: 'ledger.ts',
    from: '      writeLoss(to, entry.loss)\n',
    to: '      writeLoss(to, undefined)\n',
  },
  {
    name: 'parts that never end are dropped',
    file: 'intake.ts',
    from: '    if (!this.isSkimming) this.#keys.absorb(parts)\n',
    to: "    if (!this.isSkimming && instance === '') this.#keys.absorb(parts)\n",
  },
  {
    name: 'an unreadable message is skipped',
    at: 92,
    file: 'intake.ts',
    from: '      this.#ledger.unreadable(envelope, nowMs)\n',
    to: '',
  },
]
