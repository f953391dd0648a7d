import { EventEmitter } from 'node:events'
import { deserialize, serialize } from 'node:v8'

/** One end of a channel between two processes, with what each side of Node's has. */
export class ChannelEnd extends EventEmitter {
  connected = true
  other!: ChannelEnd
  /** What an application hears that has no listener yet: Node keeps it. */
  readonly #kept: unknown[] = []
  readonly #carry: (value: unknown) => unknown
  /** Messages that this end sends and that are on their way. */
  readonly #sent: unknown[] = []
  /** While true, what this end sends stays on its way. */
  isHeld = false
  /** While true, what this end sends is lost. */
  isLosing = false

  constructor(carry: (value: unknown) => unknown) {
    super()
    this.#carry = carry
    this.on('newListener', () => process.nextTick(() => this.#handOver()))
  }

  send(message: unknown, callback: (error: Error | null) => void = () => {}): boolean {
    if (!this.connected) {
      process.nextTick(callback, new Error('ERR_IPC_CHANNEL_CLOSED'))
      return false
    }
    if (!this.isLosing) this.#sent.push(this.#carry(message))
    setImmediate(() => this.deliver())
    process.nextTick(callback, null)
    return true
  }

  deliver(): void {
    if (this.isHeld) return
    for (const message of this.#sent.splice(0)) this.other.receive(message)
  }

  receive(message: unknown): void {
    this.#kept.push(message)
    this.#handOver()
  }

  #handOver(): void {
    if (this.listenerCount('message') === 0) return
    for (const message of this.#kept.splice(0)) this.emit('message', message)
  }

  /** Closes the channel, after what was sent. */
  disconnect(): void {
    for (const end of [this, this.other]) {
      end.deliver()
      end.connected = false
    }
    setImmediate(() => {
      for (const end of [this, this.other]) end.emit('disconnect')
    })
  }
}

/** A channel, with the parent's end and the child's. */
export function channelPair(serialization: 'json' | 'advanced'): {
  readonly parent: ChannelEnd
  readonly child: ChannelEnd
} {
  const carry = (value: unknown): unknown =>
    serialization === 'json' ? JSON.parse(JSON.stringify(value)) : deserialize(serialize(value))
  const [parent, child] = [new ChannelEnd(carry), new ChannelEnd(carry)]
  parent.other = child
  child.other = parent
  return { parent, child }
}
