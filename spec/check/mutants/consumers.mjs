/** Mutants of several named consumers; list.mjs says what a mutant is. */
import { MERGES, OUTBOX, PLACES, STEP } from './files.mjs'

const COPIED = 'consumers: an epoch is copied for another, by an aggregator that dies'
const UNITED = 'consumers: an epoch is united with a backlog, by an aggregator that dies'
const FOLLOW = 'consumers: cuts follow while merges of the first are left'
const LAST = 'consumers: a stop unites what was given back with the last epoch'
const GIVEN_BACK = 'consumers: one gives its epoch back while another cuts'
const FRESH = 'consumers: a fresh one stays fresh until it commits'
const FULL = 'consumers: backlogs that become full, by an aggregator that dies'
const OF_TEXTS = 'consumers: texts of backlogs, by an aggregator that dies'

const NONE = { preemptions: 0, deaths: 0 }
const ONE_DEATH = { preemptions: 0, deaths: 1 }

export const mutants = [
  {
    name: 'a successor takes the table of a slot that is merged into for whole',
    edits: [
      {
        file: MERGES,
        find: '    words[at + SLOT_DIRTY] = 1\n  }\n}',
        replace: '  }\n}',
      },
    ],
    scenario: UNITED,
    with: ONE_DEATH,
  },
  {
    name: 'a successor goes on in a new target that its predecessor may not have cleared',
    edits: [
      {
        file: MERGES,
        find: '  if (isNew) {',
        replace: '  if (isNew && words[at + SLOT_DIRTY] === 0) {',
      },
    ],
    scenario: 'namespaces: a slot is copied into that has other keys, by an aggregator that dies',
    with: ONE_DEATH,
  },
  {
    name: 'a merge counts as made before its target is sealed',
    edits: [
      {
        file: MERGES,
        find: '  storeSlot(target, a.jobEpoch)\n  words[epochAt',
        replace: '  words[epochAt',
      },
      {
        file: MERGES,
        find: '  nextMerge(a)\n  if (a.jobIndex',
        replace:
          '  const slot = target.slot\n  nextMerge(a)\n  target.slot = slot\n  storeSlot(target, a.jobEpoch)\n  target.slot = -1\n  if (a.jobIndex',
      },
    ],
    scenario: UNITED,
    with: { preemptions: 1, deaths: 0 },
  },
  {
    name: 'a new target is not cleared',
    edits: [
      {
        file: MERGES,
        find: '    emptySlot(a, slot, openCheckOf(a.jobEpoch))\n',
        replace: '',
      },
    ],
    scenario: 'consumers: a copy in a slot that is used again',
    with: NONE,
  },
  {
    name: 'a seal does not wait for the merges of the one before',
    edits: [
      {
        file: STEP,
        find: '  return isBatch(token) || kind === CLOSE ||',
        replace: '  return isBatch(token) || kind === SEAL || kind === CLOSE ||',
      },
    ],
    scenario: FOLLOW,
    with: NONE,
  },
  {
    name: 'a plan is made when its cut is asked for',
    edits: [
      {
        file: OUTBOX,
        find: '  o.queue.push(outgoing(SEAL, { slot, ticket }))\n}\n\n/**\n * Makes the cut now.',
        replace:
          '  if (slot < 0) Object.assign(ticket, { plan: planCut(o.places, o.openSlot, o.freeSlots, ticket.place) })\n  o.queue.push(outgoing(SEAL, { slot, ticket }))\n}\n\n/**\n * Makes the cut now.',
      },
      {
        file: OUTBOX,
        find: '  const plan = planCut(o.places, o.openSlot, o.freeSlots, place)\n',
        replace:
          '  const plan = (ticket as any)?.plan ?? planCut(o.places, o.openSlot, o.freeSlots, place)\n',
      },
    ],
    scenario: 'consumers: a cut waits in the queue, and who has a backlog changes meanwhile',
    with: NONE,
  },
  {
    name: 'a plan is stored behind its seal',
    edits: [
      {
        file: OUTBOX,
        find: '  storePlan(o.words, id & EPOCH_MASK, plan)\n  if (!sendSeal(o, plan.open, ticket, plan.promised, plan.own)) return false\n',
        replace:
          '  if (!sendSeal(o, plan.open, ticket, plan.promised, plan.own)) return false\n  storePlan(o.words, id & EPOCH_MASK, plan)\n',
      },
    ],
    scenario: FOLLOW,
    with: { preemptions: 1, deaths: 0 },
  },
  {
    name: 'a plan is stored over one that is not carried out',
    edits: [{ file: OUTBOX, find: 'const CUTS_MAX = PLANS / 2', replace: 'const CUTS_MAX = 64' }],
    scenario: 'consumers: plans of many cuts, before the aggregator carries out the first',
    with: NONE,
  },
  {
    name: 'a cut opens a slot that its own merges read',
    edits: [
      {
        file: PLACES,
        find: '  const free = [...freeSlots]\n  const open',
        replace:
          '  const free = cutter !== undefined && cutter.older >= 0 ? [...freeSlots, cutter.older] : [...freeSlots]\n  const open',
      },
    ],
    scenario: GIVEN_BACK,
    with: NONE,
  },
  {
    name: 'an epoch is handed out before its own merges are made',
    edits: [
      {
        file: OUTBOX,
        find: '  if (o.memory.layout.maxConsumers > 0 && !isMerged(o, o.sealing[0])) return undefined\n',
        replace: '',
      },
    ],
    scenario: UNITED,
    with: NONE,
  },
  {
    name: 'the slot that a cut promises is taken for the one that it seals',
    edits: [
      {
        file: OUTBOX,
        find: 'some(({ id, sealed }) => cur === curWord(id, sealed))',
        replace: 'some(({ id, slot }) => cur === curWord(id, slot))',
      },
    ],
    scenario: UNITED,
    with: NONE,
  },
  {
    name: 'a target is not sealed when its merge is made',
    edits: [{ file: MERGES, find: '  storeSlot(target, a.jobEpoch)\n', replace: '' }],
    scenario: COPIED,
    with: NONE,
  },
  {
    name: 'the last epoch is merged without an end',
    edits: [
      { file: MERGES, find: '  if (a.jobEpoch === epoch) return\n', replace: '' },
      {
        file: STEP,
        find: '  if (a.jobEpoch !== a.epoch) {\n',
        replace: '  if (a.head >= 0) {\n',
      },
    ],
    scenario: LAST,
    with: NONE,
  },
  {
    name: 'the end comes before the merges of the last epoch',
    edits: [{ file: STEP, find: '    if (a.mergesLeft > 0) return WORKED\n  }', replace: '  }' }],
    scenario: LAST,
    with: NONE,
  },
  {
    name: 'a successor does not make the merges that are left',
    edits: [
      {
        file: MERGES,
        find: '  a.mergesLeft = a.plan.merges.length - a.jobIndex\n',
        replace: '',
      },
    ],
    scenario: COPIED,
    with: ONE_DEATH,
  },
  {
    name: 'a merge leaves out why its source is not exact',
    edits: [
      {
        file: MERGES,
        find: '    raiseFlags(target, { ...from, namespaces: from.namespaces.filter((each) => wants(a, each)) })\n',
        replace: '',
      },
    ],
    scenario: 'consumers: batches, a close and everything beside the steps of a merge',
    with: NONE,
  },
  {
    name: 'a merge takes of a superset what it lists',
    edits: [
      {
        file: MERGES,
        find: '    addFilter(target, source, doneFilter, a.doneFilter)\n',
        replace: '',
      },
    ],
    scenario: FULL,
    with: NONE,
  },
  {
    name: 'a merge leaves the texts out',
    edits: [
      {
        file: MERGES,
        find: '    if (wants(a, 0)) insertRecords(target, arena + doneTexts, arena + a.doneTexts)\n',
        replace: '',
      },
    ],
    scenario: OF_TEXTS,
    with: NONE,
  },
  {
    name: 'what was given back is not united with the backlog',
    edits: [
      {
        file: PLACES,
        find: '      merges.push(mergeWord(older, promised, false, choice))\n      released.push(older)\n',
        replace: '      released.push(older)\n',
      },
    ],
    scenario: GIVEN_BACK,
    with: NONE,
  },
  {
    name: 'what was given back is not united with the last epoch',
    edits: [
      {
        file: PLACES,
        find: '    if (older >= 0) merges.push(mergeWord(older, target, false, choice))\n',
        replace: '',
      },
    ],
    scenario: LAST,
    with: NONE,
  },
  {
    name: 'an epoch that is given back keeps its stamp',
    edits: [
      {
        file: OUTBOX,
        find: '    takeStampBack(o, held)\n    if (place.backlog < 0)',
        replace: '    if (place.backlog < 0)',
      },
    ],
    scenario:
      'reader: asks for a number in an epoch that a consumer gives back, and that is merged into',
    with: { preemptions: 1, deaths: 0, stales: 1 },
  },
  {
    name: 'a fresh consumer is fresh until its epoch is handed out',
    edits: [
      {
        file: OUTBOX,
        find: '    place.held = plan.promised\n',
        replace: '    place.held = plan.promised\n    place.isFresh = false\n',
      },
    ],
    scenario: FRESH,
    with: NONE,
  },
  {
    name: 'nothing is kept for a fresh consumer while its epoch is in hand',
    edits: [
      {
        file: PLACES,
        find: '(place.isFresh && place.held < 0)',
        replace: 'place.isFresh',
      },
    ],
    scenario: FRESH,
    with: NONE,
  },
  {
    name: 'a cut that waits stands in its own way',
    edits: [
      {
        file: OUTBOX,
        find: '!isReady(o, ticket.place)) continue',
        replace: '!canSealNow(o, ticket.place)) continue',
      },
    ],
    scenario: 'consumers: one asks for two epochs at once',
    with: NONE,
  },
  {
    name: 'a consumer that has closed loses the slot of what it holds',
    edits: [
      {
        file: OUTBOX,
        find: 'if (place.isClosed && place.held < 0 && o.places.includes(place))',
        replace: 'if (place.isClosed && o.places.includes(place))',
      },
    ],
    scenario: 'consumers: one closes with an epoch in hand, and another is opened',
    with: NONE,
  },
  {
    name: 'a cut that has no room in the ring takes its slots',
    edits: [
      {
        file: OUTBOX,
        find: '  storePlan(o.words, id & EPOCH_MASK, plan)\n  if (!sendSeal(',
        replace:
          '  storePlan(o.words, id & EPOCH_MASK, plan)\n  o.freeSlots.splice(0, o.freeSlots.length, ...plan.free)\n  if (!sendSeal(',
      },
    ],
    scenario: 'consumers: a cut waits in the queue, and who has a backlog changes meanwhile',
    with: NONE,
  },
]
