/** Mutants of ends, of batch(), and of the tracker's own thread; list.mjs says what a mutant is. */
import { DRAIN, EFFECTS, LANE, OUTBOX, STEP } from './files.mjs'

export const mutants = [
  // -------------------------------------------------------------------------- close, reap, and stop
  {
    name: 'CLOSE and REAP do not look at the generation',
    model: true,
    edits: [
      {
        file: EFFECTS,
        find: '  if (generationOf(owner) !== generation) return\n  const { start }',
        replace: '  if ((owner & 0x1ffff) === 0) return\n  const { start }',
      },
    ],
    scenario: 'reap: late, when the lane has its next owner',
  },
  {
    name: 'a lane is free before its keys are passed',
    edits: [
      {
        file: EFFECTS,
        find: '  passKeys(a, lane, n)\n  freeLane(words, lane, owner, n)',
        replace: '  freeLane(words, lane, owner, n)\n  passKeys(a, lane, n)',
      },
    ],
    scenario: 'close: and the next owner of the lane',
    with: { preemptions: 0, deaths: 1 },
  },
  {
    name: 'a lane whose keys were passed is not freed any more',
    model: true,
    edits: [
      {
        file: EFFECTS,
        find: '  const { start } = a\n  const n = (words[lane + LANE_STAGED_END] - start) | 0',
        replace:
          '  const { start } = a\n  if (a.readEnds[a.writer] !== start) return\n  const n = (words[lane + LANE_STAGED_END] - start) | 0',
      },
    ],
    scenario: 'reap: a writer that ended with keys staged',
    with: { preemptions: 0 },
  },
  {
    name: 'what a writer left staged is not harvested',
    edits: [
      {
        file: EFFECTS,
        find: '  insertLane(a, lane, start, n)\n  publishCount(a)\n  const everything',
        replace: '  const everything',
      },
    ],
    scenario: 'reap: a writer that ended with keys staged',
    with: { preemptions: 0, deaths: 0 },
  },
  {
    name: 'a free lane still says whose it was',
    edits: [
      {
        file: LANE,
        find: '  Atomics.store(words, lane + LANE_THREAD, 0)\n  Atomics',
        replace: '  Atomics',
      },
    ],
    scenario: 'open: a writer that dies while it claims a lane',
  },
  {
    name: 'STOP closes, and what is in the ring is drained once more',
    model: true,
    edits: [
      {
        file: STEP,
        find: '    poison(memory, head, emptyWord(lapOf(head, memory.layout.capacityBits)))\n    return WORKED',
        replace: '    moveHead(a)\n    return WORKED',
      },
    ],
    scenario: 'stop: races a publish, two slots',
    with: { preemptions: 1, deaths: 0 },
  },
  {
    name: "STOP's slot is freed",
    model: true,
    edits: [
      {
        file: STEP,
        find: 'i < tokens && !isStop; i++',
        replace: 'i < tokens; i++',
      },
    ],
    scenario: 'stop: races a publish, one slot',
    with: { preemptions: 1, deaths: 0 },
  },
  {
    name: "slots are poisoned to the lap's end only",
    model: true,
    edits: [
      {
        file: STEP,
        find: 'head === advance(stopPosition, memory.layout.capacity - 1)) return finish(a)',
        replace:
          '(head & (memory.layout.capacity - 1)) === 0 && head !== advance(stopPosition, -1)) return finish(a)',
      },
    ],
    scenario: 'stop: behind a batch, races a publish',
    with: { preemptions: 1, deaths: 0 },
  },
  {
    name: 'the last epoch does not say that keys stay staged',
    edits: [{ file: STEP, find: '  if (unpublished) a.flags |= FLAG_UNPUBLISHED\n', replace: '' }],
    scenario: 'stop: the last epoch says that keys stay staged',
    with: { preemptions: 0, deaths: 0 },
  },

  {
    name: 'marks are not refused before the last look',
    edits: [
      { file: OUTBOX, find: '    Atomics.store(words, attn, words[attn] | 1)\n', replace: '' },
    ],
    scenario: 'stop: against a writer that marks until it is refused, one slot',
  },
  {
    name: 'a mark reads the refusal before it stores its key',
    edits: [
      {
        file: LANE,
        find: '  const end = lane.end\n  const at = lane.keys + ((end & lane.mask) << 1)\n  words[at] = lo',
        replace:
          '  if (words[lane.attnAt] !== lane.attn && !ready(lane, 1, 0)) return false\n  const end = lane.end\n  const at = lane.keys + ((end & lane.mask) << 1)\n  words[at] = lo',
      },
      {
        file: LANE,
        find: '  if (((next - lane.due) | 0) >= 0 || words[lane.attnAt] !== lane.attn) return afterStaging(lane, end)\n  return true\n',
        replace: '  if (((next - lane.due) | 0) >= 0) afterStaging(lane, end)\n  return true\n',
      },
    ],
    scenario: 'stop: against a writer that marks until it is refused, one slot',
  },
  {
    name: 'a mark that sees the refusal is taken all the same',
    edits: [
      {
        file: LANE,
        find: '    lane.end = before\n    words[lane.stagedAt] = before\n    publish(lane)\n    lane.due = before // ready() refuses the next mark before it stores anything\n    return false\n',
        replace: '    publish(lane)\n    lane.due = lane.end\n    return true\n',
      },
    ],
    scenario: 'stop: against a writer that marks until it is refused, one slot',
  },

  // ---------------------------------------------------------------------- batch(), markEverything()
  {
    name: 'what a batch has staged goes out with what falls due in it',
    edits: [
      {
        file: LANE,
        find: 'const upTo = lane.batching ? lane.batchStart : lane.end',
        replace: 'const upTo = lane.end',
      },
    ],
    scenario: 'batch: a publication that falls due in it takes what was staged before, and a cut',
  },
  {
    name: 'a batch is not published when it ends',
    edits: [
      {
        file: LANE,
        find: '  const published = publish(lane)\n  if (!published && !lane.clock.armed)',
        replace: '  const published = true\n  if (!published && !lane.clock.armed)',
      },
    ],
    scenario: 'batch: flushed() waits for its end',
  },
  {
    name: 'a batch in a batch begins anew',
    edits: [
      {
        file: LANE,
        find: '  if (lane.batching) return false\n  lane.batchStart',
        replace: '  lane.batchStart',
      },
    ],
    scenario: 'batch: in a batch',
  },
  {
    name: 'a mark in a batch is suppressed by a key that was staged before',
    edits: [
      {
        file: LANE,
        find: 'if (lane.recent !== undefined && !lane.batching) {',
        replace: 'if (lane.recent !== undefined) {',
      },
    ],
    scenario: 'batch: a key that was staged before it is marked again in it',
  },
  {
    name: 'a batch waits for more room than the keys before it take',
    edits: [
      {
        file: LANE,
        find: '    if (lane.batching && ((target - lane.batchStart) | 0) > 0) target = lane.batchStart\n',
        replace: '',
      },
    ],
    scenario: 'batch: it waits for the room of the keys before it',
  },
  {
    name: 'markEverything() goes out in the middle of a batch',
    edits: [
      {
        file: LANE,
        find: 'if (!lane.batching && pushEverything(lane)) return true',
        replace: 'if (pushEverything(lane)) return true',
      },
    ],
    scenario: 'everything: in a batch, and a death in it',
    with: { preemptions: 2, deaths: 0 },
  },
  {
    name: 'markEverything() is forgotten when the ring is full',
    edits: [
      {
        file: LANE,
        find: '  if (lane.everything !== 0 && !lane.batching && !pushEverything(lane)) return false\n',
        replace: '',
      },
    ],
    scenario: 'everything: in a ring with room, and in a full one',
  },
  {
    name: 'a harvest leaves markEverything() behind',
    edits: [
      {
        file: EFFECTS,
        find: '  if (everything !== 0) raiseEverything(a, everything)\n  setTotal',
        replace: '  setTotal',
      },
    ],
    scenario: 'everything: in a batch, and a death in it',
  },
  {
    name: 'the last look leaves markEverything() behind',
    edits: [
      {
        file: STEP,
        find: '    if (everything !== 0) raiseEverything(a, everything)\n',
        replace: '',
      },
    ],
    scenario: 'everything: against stop',
  },
  {
    name: 'markEverything() does not look whether the last look is over',
    edits: [
      {
        file: LANE,
        find: '  if (isStopped(lane)) {\n    // The',
        replace: '  if (lane.batchStart === -99) {\n    // The',
      },
    ],
    scenario: 'everything: against stop',
  },

  // ----------------------------------------------------------------------- the tracker's own thread
  {
    name: 'a cut takes its number when it is asked for, not when it is made',
    edits: [
      {
        file: OUTBOX,
        find: '  o.openSlot = open\n  o.epoch++\n',
        replace: '  o.openSlot = open\n',
      },
      {
        file: OUTBOX,
        find: '  const slot = ticket.place === undefined ?',
        replace: '  o.epoch++\n  const slot = ticket.place === undefined ?',
      },
    ],
    scenario: 'cut: its caller is aborted before it, and after it',
  },
  {
    name: 'an epoch is taken for sealed when its token is in the ring',
    edits: [
      {
        file: OUTBOX,
        find: '  if (epochDistance(epochOfCur(cur), (o.sealing[0].id + 1) & EPOCH_MASK) < 0) return undefined\n',
        replace: '',
      },
    ],
    scenario: 'cut: its caller is aborted before it, and after it',
  },
  {
    name: 'a consumer of a BatchRing gives the room back before it has read the batch',
    edits: [
      {
        file: DRAIN,
        find: '    return { position, seen, lane, producer, start: words',
        replace:
          '    Atomics.store(words, lane + LANE_READ_END, (words[lane + LANE_READ_END] + (token & (layout.laneCapacity - 1)) + 1) | 0)\n    return { position, seen, lane, producer, start: words',
      },
    ],
    scenario: 'BatchRing: a lane and its next owner',
  },
  {
    name: 'a consumer of a BatchRing gives no room back',
    edits: [
      {
        file: DRAIN,
        find: '  if (lane >= 0) Atomics.store(words, lane + LANE_READ_END, (start + count) | 0)\n',
        replace: '',
      },
    ],
    scenario: 'BatchRing: two producers, a consumer, two slots',
  },
  {
    name: 'the consumer of a BatchRing sleeps without a second look',
    edits: [
      {
        file: DRAIN,
        find: '  return !findBatch(memory)\n',
        replace: '  return memory.layout.capacity > 0\n',
      },
    ],
    scenario: 'BatchRing: a consumer that sleeps, and one batch',
  },
  {
    name: 'the consumer of a BatchRing looks first, and says then that it sleeps',
    edits: [
      {
        file: DRAIN,
        find: '  Atomics.store(memory.words, PARKED, 1)\n  return !findBatch(memory)\n',
        replace:
          '  const isEmpty = !findBatch(memory)\n  Atomics.store(memory.words, PARKED, 1)\n  return isEmpty\n',
      },
    ],
    scenario: 'BatchRing: a consumer that sleeps, and one batch',
  },
  {
    name: 'the consumer of a BatchRing sleeps without an end',
    edits: [
      {
        file: DRAIN,
        find: 'Atomics.wait(memory.words, PARKED, 1, ms)',
        replace: 'Atomics.wait(memory.words, PARKED, 1)',
      },
    ],
    scenario: 'BatchRing: a consumer that sleeps, and one batch',
  },
]
