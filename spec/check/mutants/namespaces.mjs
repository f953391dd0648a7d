/** Mutants of namespaces and of consumers that want some only; list.mjs says what a mutant is. */
import { EFFECTS, LANE, MERGES, OUTBOX, PLACES, PUBLISH, STATE } from './files.mjs'

const THREE =
  'namespaces: three change as a whole, and an epoch has room for two, by an aggregator that dies'
const RESTORED = 'namespaces: a restore takes them, by an aggregator that dies'
const FULL = 'namespaces: a writer marks two as a whole, and the ring is full'
const COPIED = 'namespaces: a consumer of some has a copy of them, by an aggregator that dies'

const NONE = { preemptions: 0, deaths: 0 }
const ONE_DEATH = { preemptions: 0, deaths: 1 }

export const mutants = [
  {
    name: 'a namespace for which there is no room is left out',
    edits: [
      {
        file: PUBLISH,
        find: '    raiseFlag(a, FLAG_EVERYTHING)\n    return\n',
        replace: '    return\n',
      },
    ],
    scenario: THREE,
    with: NONE,
  },
  {
    name: 'a namespace is counted before its number is stored',
    edits: [
      {
        file: PUBLISH,
        find: '  words[openAt + SLOT_NAMESPACES + namespaces.length] = namespace\n  words[openAt + SLOT_NAMESPACES] = namespaces.length\n',
        replace:
          '  words[openAt + SLOT_NAMESPACES] = namespaces.length\n  words[openAt + SLOT_NAMESPACES + namespaces.length] = namespace\n',
      },
    ],
    scenario: THREE,
    with: ONE_DEATH,
  },
  {
    name: 'a namespace is said before it is counted',
    edits: [
      {
        file: PUBLISH,
        find: '  namespaces.push(namespace)\n',
        replace: '  namespaces.push(namespace)\n  raiseFlag(a, FLAG_NAMESPACES)\n',
      },
    ],
    scenario: THREE,
    with: ONE_DEATH,
  },
  {
    name: 'an epoch begins with the namespaces of the one before',
    edits: [{ file: STATE, find: '  a.namespaces.length = 0\n', replace: '' }],
    scenario: THREE,
    with: NONE,
  },
  {
    name: 'recovery forgets which namespaces have changed as a whole',
    edits: [{ file: STATE, find: '  a.namespaces.push(...header.namespaces)\n', replace: '' }],
    scenario: THREE,
    with: ONE_DEATH,
  },
  {
    name: 'a restore does not take the namespaces',
    edits: [
      {
        file: EFFECTS,
        find: '  raiseFlags(a, header)\n',
        replace: '  raiseFlags(a, { ...header, namespaces: [] })\n',
      },
    ],
    scenario: RESTORED,
    with: NONE,
  },
  {
    name: 'a second namespace takes the place of the first while the ring is full',
    edits: [
      {
        file: LANE,
        find: '  lane.everything = lane.everything === 0 || lane.everything === what ? what : ALL\n',
        replace: '  lane.everything = what\n',
      },
    ],
    scenario: FULL,
    with: { preemptions: 1, deaths: 0 },
  },
  {
    name: 'a harvest takes a namespace for all of them',
    edits: [
      {
        file: EFFECTS,
        find: '  if (everything !== 0) raiseEverything(a, everything)\n',
        replace: '  if (everything !== 0) raiseEverything(a, 1)\n',
      },
    ],
    scenario: FULL,
  },
  {
    name: 'a merge takes all keys for a consumer of some namespaces',
    edits: [
      {
        file: MERGES,
        find: '  if (chosen === undefined) {',
        replace: '  if (chosen?.length !== 0) {',
      },
    ],
    scenario: COPIED,
    with: NONE,
  },
  {
    name: 'a merge takes the texts for a consumer of other namespaces',
    edits: [
      {
        file: MERGES,
        find: '    if (wants(a, 0)) insertRecords',
        replace: '    insertRecords',
      },
    ],
    scenario: COPIED,
    with: NONE,
  },
  {
    name: 'a merge tells a consumer of namespaces that it does not want',
    edits: [
      {
        file: MERGES,
        find: 'from.namespaces.filter((each) => wants(a, each))',
        replace: 'from.namespaces',
      },
    ],
    scenario: COPIED,
    with: NONE,
  },
  {
    name: 'a consumer of some namespaces is handed the slot that has all keys',
    edits: [
      {
        file: PLACES,
        find: '    } else if (choice < 0) {',
        replace: '    } else if (choice < 99) {',
      },
    ],
    scenario: COPIED,
    with: NONE,
  },
  {
    name: 'the backlog of a consumer of some namespaces is the slot that has all keys',
    edits: [
      {
        file: PLACES,
        find: '    else if (!isSealedTaken && place.choice < 0) {',
        replace: '    else if (!isSealedTaken) {',
      },
    ],
    scenario: 'namespaces: a consumer of numbers and texts without a namespace',
    with: NONE,
  },
  {
    name: 'the last epoch of a consumer of some namespaces has all keys',
    edits: [
      {
        file: PLACES,
        find: 'if (isClosed || (backlog < 0 && choice < 0)) continue',
        replace: 'if (isClosed || backlog < 0) continue',
      },
    ],
    scenario: 'namespaces: last epochs, by an aggregator that dies',
    with: NONE,
  },
  {
    name: 'a choice is stored over one that a plan still names',
    edits: [
      {
        file: OUTBOX,
        find: '  while (isTaken(choice) || (o.chosenUntil[choice] ?? -Infinity) > o.epoch - CUTS_MAX - 2) choice++\n',
        replace: '  while (isTaken(choice)) choice++\n',
      },
    ],
    scenario: 'namespaces: choices come and go before the aggregator carries out the first plan',
    with: NONE,
  },
]
