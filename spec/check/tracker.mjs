import { keyName, textsIn } from './memory.mjs'
import { currentThread, load, read, storesArrive, until } from './parts.mjs'
import { Failure, learnOfEnd } from './runtime.mjs'

/**
 * The tracker's thread: what it sends and reads is tracker/outbox.ts as it ships; its promises and
 * timers (tracker/control.ts) are left away. It learns what has come to pass when the aggregator
 * signals, and of threads that ended when they do.
 */
export class Tracker {
  /** @param {import('./model.mjs').World} world */
  constructor(world) {
    this.world = world
    this.outbox = world.core.openOutbox(world.memory, world.scenario.start?.epoch ?? 0)
    this.sealedCount = 0
    this.exitsSeen = 0
    this.held = new Set()
  }

  get isStopping() {
    return this.outbox.isStopping
  }

  isHeld(slot) {
    return this.held.has(slot)
  }

  /** advanceEpoch(): the ticket of a cut, made now if a slot and the ring have room. */
  *seal() {
    const ticket = { epoch: undefined }
    this.world.core.requestSeal(this.outbox, ticket)
    yield* this.poke()
    return ticket
  }

  /** tryAdvanceEpoch(): the ticket of a cut that is made, or undefined. */
  *trySeal() {
    const ticket = { epoch: undefined }
    return (yield* this.world.core.trySeal(this.outbox, ticket)) ? ticket : undefined
  }

  /** The caller of a cut is aborted. */
  *abandon(ticket) {
    yield* this.world.core.abandonSeal(this.outbox, ticket)
    yield* this.poke()
  }

  /** Wait until the cut is executed, and check the epoch. */
  *sealed(ticket) {
    yield* this.wait(() => ticket.epoch !== undefined)
    return ticket.epoch
  }

  /** advanceEpoch(), awaited. */
  *advance() {
    return yield* this.sealed(yield* this.seal())
  }

  /** epoch.handle, posted to the reader: the header, and what the keys are, for its checks. */
  *postHandle({ id, slot, keys }) {
    const { core, memory, words, layout } = this.world
    const header = yield* core.readSealedSlot(memory, slot, id & core.EPOCH_MASK)
    const arena = core.epochAt(layout, slot) + layout.arena
    const hash = header.textEnd > 0 ? words[arena] : 0
    this.world.post({ id, slot, keys, header, hash })
  }

  *commit(epoch) {
    yield* this.#freeSlot(epoch.slot)
    yield* this.poke()
  }

  *restore(epoch) {
    const ticket = { slot: epoch.slot, done: false }
    this.world.core.requestRestore(this.outbox, epoch.slot, epoch.id, ticket)
    yield* this.poke()
    return ticket
  }

  *restored(ticket) {
    yield* this.wait(() => ticket.done)
  }

  *everything(namespace = undefined) {
    this.world.core.requestEverything(this.outbox, namespace)
    yield* this.poke()
  }

  /** Wait until everything that is in the ring now was handled. */
  *drained() {
    const ticket = { done: false }
    this.world.core.requestDrain(this.outbox, ticket)
    yield* this.wait(() => ticket.done)
  }

  /** Send REAP for a lane, as often as one likes: for a writer that is done with. */
  *reap(writer, generation) {
    this.outbox.queue.push({
      kind: this.world.core.REAP,
      slot: 0,
      epoch: 0,
      writer,
      generation,
      ticket: undefined,
    })
    yield* this.poke()
  }

  /** flushed(): wait until what is staged now is published. */
  *flushed() {
    const { core } = this.world
    const marks = yield* core.stagedMarks(this.outbox)
    const { outbox } = this
    let there = false
    yield* this.wait(
      () => there,
      function* () {
        storesArrive() // it looks every few milliseconds
        there = true
        for (const mark of marks) if (!(yield* core.isPublished(outbox, mark))) there = false
      },
      true,
    )
  }

  /** Ask every writer to publish. */
  *ask() {
    return yield* this.world.core.askToPublish(this.outbox)
  }

  /**
   * An epochs() loop sleeps until its next epoch would have something. Only a signal ends its
   * sleep.
   *
   * @param {any} [place] of a named consumer
   */
  *untilDirty(place) {
    const { core } = this.world
    const { outbox } = this
    let isDirty = false
    const look = function* () {
      isDirty = yield* core.wantDirty(outbox, place)
    }
    yield* this.wait(() => isDirty, look, false, false)
    yield* core.forgetDirty(outbox)
  }

  /** STOP, behind everything else; back when nothing can be delivered any more. */
  *stop() {
    const { core } = this.world
    const { outbox } = this
    outbox.isClosing = true
    for (const ticket of outbox.waiting.splice(0)) ticket.epoch = 'refused'
    yield* this.refuse()
    core.requestStop(outbox)
    let finished = false
    yield* this.wait(
      () => finished,
      function* () {
        finished = yield* core.isFinished(outbox)
      },
    )
  }

  /** What stop() does before STOP goes out. */
  *refuse() {
    yield* this.world.core.refuseMarks(this.outbox)
    storesArrive()
  }

  /** No aggregator is left: this thread takes the role and does the rest. */
  *takeOver() {
    const { core, memory } = this.world
    const a = yield* core.takeRole(memory, this.world.threadIdOf(currentThread()))
    yield* core.recover(a)
    let result = core.WORKED
    while (result === core.WORKED) {
      yield* this.poke()
      result = yield* core.step(a)
    }
    yield* core.leaveRole(a)
    return result === core.FINISHED_ALL
  }

  /**
   * Wait until these threads have ended, one way or the other, and what they left is reaped for.
   */
  *join(...names) {
    const { run } = this.world
    const threads = run.threads.filter(
      ({ name }) => names.includes(name) || (names.length === 0 && name.startsWith('writer')),
    )
    yield* this.wait(() => threads.every(({ state }) => state >= 2))
    for (const thread of threads) learnOfEnd(currentThread(), thread)
  }

  /**
   * @param {() => boolean} isSo
   * @param {(() => Generator<any, any, any>) | undefined} [also]
   * @param {boolean} [polls]
   * @param {boolean} [ends] the sleep has an end, should no signal come
   */
  *wait(isSo, also, polls = false, ends = true) {
    const poke = this.poke.bind(this)
    const { queue, draining } = this.outbox
    yield* until(
      function* () {
        yield* poke()
        if (also !== undefined) yield* also()
        return isSo()
      },
      {
        event: ends || this.world.scenario.exits === true, // a death, too, is an event
        polls: () => polls || queue.length > 0 || draining.length > 0,
        sleepOn: polls ? -1 : this.world.core.SIGNAL,
        ends,
      },
    )
  }

  /** Send what can be sent, see what has come to pass. */
  *poke() {
    const { world, outbox } = this
    const { core } = world
    while (this.exitsSeen < world.exits.length)
      yield* this.#reapThread(world.exits[this.exitsSeen++])
    yield* this.#flush()
    for (let sealed; (sealed = yield* core.takeSealed(outbox)) !== undefined;) {
      if (sealed.abandoned) this.sealedCount++
      else if (sealed.ticket.consumer !== undefined)
        sealed.ticket.epoch = yield* world.consumers.handOut(sealed)
      else sealed.ticket.epoch = yield* this.#handOut(sealed.id, sealed.slot)
    }
    for (let restored; (restored = yield* core.takeRestored(outbox)) !== undefined;) {
      this.held.delete(restored.slot)
      if (restored.ticket !== undefined) restored.ticket.done = true
    }
    yield* this.#flush() // a slot that has come free may have let a seal in
    for (let drained; (drained = yield* core.takeDrained(outbox)) !== undefined;)
      drained.ticket.done = true
  }

  *#flush() {
    while (this.outbox.queue.length > 0)
      if (!(yield* this.world.core.sendFirst(this.outbox))) return
  }

  /** Read a sealed epoch as its users do, plainly: whatever is not ordered shows as a race. */
  *readSlot(slot) {
    const { core, words, layout } = this.world
    const at = core.epochAt(layout, slot)
    const keyCount = yield* load(words, at + core.SLOT_COUNT)
    const keys = []
    for (let k = 0; k < keyCount; k++) {
      const lo = yield* read(words, at + layout.log + 2 * k)
      keys.push(keyName(lo, yield* read(words, at + layout.log + 2 * k + 1)))
    }
    const textEnd = yield* load(words, at + core.SLOT_TEXT_END)
    const arena = at + layout.arena
    keys.push(...(yield* textsIn(core, (i) => read(words, i), arena, arena + textEnd)))
    const flags = yield* read(words, at + core.SLOT_FLAGS)
    const namespaces = []
    const count =
      (flags & core.FLAG_NAMESPACES) === 0 ? 0 : yield* read(words, at + core.SLOT_NAMESPACES)
    for (let k = 1; k <= count; k++)
      namespaces.push(yield* read(words, at + core.SLOT_NAMESPACES + k))
    return { keys, flags, namespaces, form: yield* load(words, at + core.SLOT_FORM) }
  }

  *#handOut(id, slot) {
    const { world } = this
    const { keys, flags, namespaces, form } = yield* this.readSlot(slot)
    const expected = world.closed[this.sealedCount++]
    if (expected === undefined || expected.id !== id)
      throw new Failure('invariant', `epoch ${id} is handed out, which was never sealed`)
    world.checkEpoch(expected, keys, flags, namespaces)
    yield* world.checkFilter(expected, slot, form)
    expected.seen = true
    this.held.add(slot)
    return { id, slot, keys, exact: flags === 0 }
  }

  *#freeSlot(slot) {
    this.held.delete(slot)
    yield* this.world.core.freeSlot(this.outbox, slot)
  }

  *#reapThread(thread) {
    const { core, memory } = this.world
    learnOfEnd(currentThread(), thread)
    for (const { writer, generation, threadId } of yield* core.orphansOf(
      memory,
      this.world.threadIdOf(thread),
    )) {
      core.requestReap(this.outbox, writer, generation, threadId)
    }
  }
}
