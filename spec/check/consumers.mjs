import { filterIn, pairOf } from './memory.mjs'
import { drive } from './parts.mjs'
import { Failure } from './runtime.mjs'

/** What an epoch, or several of them together, have to hold. */
const EMPTY = { keys: new Set(), isSuperset: false, flags: 0, namespaces: new Set() }

/**
 * Several named consumers on the tracker's thread, and an oracle for each: what it has to get. A
 * cut is where the slot of its SEAL is filled; all else follows from what the tracker's thread does.
 */
export class Consumers {
  /** @param {import('./model.mjs').World} world */
  constructor(world) {
    this.world = world
    this.all = []
    for (let k = 0; k < (world.scenario.consumers ?? 0); k++) {
      // As if the ring had been full when it was opened: its range begins with the open epoch.
      const { fresh = false, wanted = [] } = world.scenario
      this.#add(drive(world.core.openPlace(world.tracker.outbox, fresh, false, wanted[k])))
    }
  }

  #add(place) {
    const consumer = {
      number: this.all.length,
      place,
      due: EMPTY,
      promised: EMPTY,
      isFresh: place.isFresh,
      isClosed: false,
      ticket: undefined,
      epoch: undefined,
    }
    this.all.push(consumer)
    return consumer
  }

  get outbox() {
    return this.world.tracker.outbox
  }

  // -------------------------------------------------------------------------- what scenarios call

  /** consumer(): its range begins here. */
  *open(isFresh = false, namespaces = undefined) {
    const place = yield* this.world.core.openPlace(this.outbox, isFresh, !isFresh, namespaces)
    yield* this.world.tracker.poke()
    return this.#add(place)
  }

  *seal(consumer) {
    const ticket = { place: consumer.place, consumer, epoch: undefined }
    consumer.ticket = ticket
    this.world.core.requestSeal(this.outbox, ticket)
    yield* this.world.tracker.poke()
    return ticket
  }

  *sealed(ticket) {
    yield* this.world.tracker.wait(() => ticket.epoch !== undefined)
    return ticket.epoch
  }

  *advance(consumer) {
    return yield* this.sealed(yield* this.seal(consumer))
  }

  *trySeal(consumer) {
    const ticket = { place: consumer.place, consumer, epoch: undefined }
    if (!(yield* this.world.core.trySeal(this.outbox, ticket))) return undefined
    consumer.ticket = ticket
    return ticket
  }

  *abandon(consumer) {
    const { core } = this.world
    const { ticket } = consumer
    if (ticket.epoch !== undefined) {
      yield* this.restore(consumer) // it came too late
      return
    }
    if ((yield* core.abandonSeal(this.outbox, ticket)) === core.GIVEN_BACK) this.#giveBack(consumer)
    yield* this.world.tracker.poke()
  }

  *commit(consumer) {
    yield* this.check(consumer.epoch.slot, consumer.epoch.id, consumer.promised)
    consumer.isFresh = false
    consumer.promised = EMPTY
    consumer.epoch = undefined
    yield* this.world.core.commitPlace(this.outbox, consumer.place)
    yield* this.world.tracker.poke()
  }

  *restore(consumer) {
    this.#giveBack(consumer)
    consumer.epoch = undefined
    yield* this.world.core.restorePlace(this.outbox, consumer.place)
    yield* this.world.tracker.poke()
  }

  /** With an epoch in hand, commit() or restore() comes later. */
  *close(consumer) {
    consumer.isClosed = true
    consumer.due = EMPTY
    yield* this.world.core.closePlace(this.outbox, consumer.place)
    this.#checkSlots()
    yield* this.world.tracker.poke()
  }

  /** Its last epoch, after stop(). */
  *last(consumer) {
    const { core, open_, memory } = this.world
    const slot = core.lastSlotOf(this.outbox, consumer.place)
    yield* core.readSealedSlot(memory, slot, this.outbox.epoch & core.EPOCH_MASK)
    yield* this.check(
      slot,
      this.outbox.epoch,
      this.#unite(consumer.due, this.#contentOf(open_, consumer.place)),
      true,
    )
  }

  // ------------------------------------------------------------------------------------ the oracle

  /** The slot of a SEAL was filled: whose cut it is, is the first in the tracker's queue. */
  onSeal(sealed) {
    const ticket = this.outbox.queue[0]?.ticket
    for (const consumer of this.all) {
      const { place, isFresh, isClosed } = consumer
      const content = this.#contentOf(sealed, place)
      if (ticket !== undefined && ticket.place === place) {
        consumer.promised = this.#unite(consumer.due, content)
        consumer.due = EMPTY
      } else if (!isClosed && !(isFresh && place.held < 0)) {
        consumer.due = this.#unite(consumer.due, content)
      }
    }
    return ticket?.consumer?.number ?? -1
  }

  /** What of an epoch a consumer gets. */
  #contentOf({ keys, beyond, isSuperset, flags, namespaces }, { wanted }) {
    const { core } = this.world
    const isWanted = (namespace) => wanted === undefined || wanted.includes(namespace)
    const content = {
      keys: new Set([...keys, ...beyond].filter((key) => isWanted(namespaceOf(key)))),
      isSuperset,
      flags: flags & ~(core.FLAG_OVERFLOW | core.FLAG_NAMESPACES),
      namespaces: new Set(),
    }
    for (const each of namespaces) if (isWanted(each)) this.world.addNamespace(content, each)
    return content
  }

  #unite(one, other) {
    const { layout } = this.world
    const keys = new Set([...one.keys, ...other.keys])
    const texts = [...keys].filter((key) => key.startsWith("'"))
    const bytes = texts.reduce((sum, text) => sum + text.length - 2, 0)
    const isFull =
      keys.size - texts.length > layout.maxKeysPerEpoch ||
      texts.length > layout.maxStringsPerEpoch ||
      bytes > layout.maxStringBytesPerEpoch
    const united = {
      keys,
      isSuperset: one.isSuperset || other.isSuperset || isFull,
      flags: one.flags | other.flags,
      namespaces: new Set(),
    }
    for (const namespace of [...one.namespaces, ...other.namespaces])
      this.world.addNamespace(united, namespace)
    return united
  }

  #giveBack(consumer) {
    if (!consumer.isClosed)
      consumer.due = consumer.isFresh ? EMPTY : this.#unite(consumer.due, consumer.promised)
    consumer.promised = EMPTY
  }

  // ---------------------------------------------------------------------------------------- checks

  /** A cut was answered. */
  *handOut({ id, slot, ticket }) {
    const { core, memory } = this.world
    const { consumer } = ticket
    this.#checkSlots()
    yield* core.readSealedSlot(memory, slot, id & core.EPOCH_MASK)
    const keys = yield* this.check(slot, id, consumer.promised)
    if (consumer.place.isFresh !== consumer.isFresh)
      throw new Failure('invariant', `epoch ${id} of consumer ${consumer.number} is not fresh`)
    consumer.epoch = { id, slot, keys }
    return consumer.epoch
  }

  /** Read plainly, as users do: whatever is not ordered shows as a race. */
  *check(slot, id, content, mayBeUnpublished = false) {
    const { world } = this
    const { core } = world
    const { keys, flags, namespaces, form } = yield* world.tracker.readSlot(slot)
    const invented = keys.filter((key) => !content.keys.has(key))
    const missing = content.isSuperset ? [] : [...content.keys].filter((key) => !keys.includes(key))
    const what = `epoch ${id} should have {${[...content.keys].join(' ')}}, and lists {${keys.join(' ')}}`
    if (new Set(keys).size !== keys.length)
      throw new Failure('invariant', `${what}: one of them twice`)
    if (missing.length > 0) throw new Failure('invariant', `${what}: lost ${missing.join(' ')}`)
    if (invented.length > 0)
      throw new Failure('invariant', `${what}: invented ${invented.join(' ')}`)
    const wanted = (content.isSuperset ? core.FLAG_OVERFLOW : 0) | content.flags
    const isWhole = (flags & wanted & core.FLAG_EVERYTHING) !== 0
    const beside =
      core.FLAG_SATURATED |
      (isWhole ? core.FLAG_NAMESPACES : 0) |
      (mayBeUnpublished ? core.FLAG_UNPUBLISHED | core.FLAG_EVERYTHING : 0)
    if ((flags & ~beside) !== (wanted & ~beside))
      throw new Failure('invariant', `epoch ${id} should have flags ${wanted}, and has ${flags}`)
    world.checkNamespaces({ id, flags, namespaces: content.namespaces }, namespaces)
    if (form !== (content.isSuperset ? core.FORM_FILTER : core.FORM_EXACT))
      throw new Failure('invariant', `epoch ${id} has form ${form}`)
    if (!content.isSuperset) return keys
    const filter = filterIn(core, world, slot)
    for (const key of content.keys)
      if (!(yield* core.filterHas(filter, ...pairOf(core, key))))
        throw new Failure('invariant', `epoch ${id} is a superset without ${key}`)
    return keys
  }

  /** Each slot is in one place, and none is lost. */
  #checkSlots() {
    const { freeSlots, places, openSlot } = this.outbox
    const used = places.flatMap(({ held, backlog, older }) => [held, backlog, older])
    const all = [openSlot, ...freeSlots, ...used.filter((slot) => slot >= 0)]
    if (new Set(all).size !== all.length || all.length !== this.world.layout.epochSlots)
      throw new Failure('invariant', `the slots in use are ${all.sort().join(' ')}`)
  }

  /** After the execution: what was cut and not handed out, and what is kept. */
  *checkEnd(stopped) {
    const { world, outbox } = this
    const { core, words, layout } = world
    this.#checkSlots()
    for (const { id, slot, ticket, abandoned } of outbox.sealing)
      if (!abandoned) yield* this.check(slot, id, ticket.consumer.promised)
    for (const consumer of this.all) {
      const { place, due, isClosed } = consumer
      if (isClosed) continue
      if (stopped) yield* this.last(consumer)
      else if (place.backlog < 0 && due.keys.size > 0)
        throw new Failure('invariant', `nothing is kept for consumer ${consumer.number}`)
      else if (place.backlog >= 0 && place.older < 0) {
        const id = words[core.epochAt(layout, place.backlog) + core.SLOT_EPOCH]
        yield* this.check(place.backlog, id, due)
        if (!due.isSuperset) world.checkTable(place.backlog)
      }
    }
  }
}

/** The half of a number that names its namespace. Texts are in namespace 0. */
function namespaceOf(key) {
  return key.includes(':') && !key.startsWith("'") ? Number(key.split(':')[0]) : 0
}
