/** Runs in an AudioWorklet: no timers, no TextEncoder, no sleep. */
import { openWriter, runtimeSupport } from 'dirtyring'

class Marks extends AudioWorkletProcessor {
  #writer
  #full
  #marks = 0
  constructor({ processorOptions }) {
    super()
    this.#writer = openWriter(processorOptions.handle)
    this.#full = openWriter(processorOptions.full)
  }

  process() {
    if (this.#marks === 10) return false
    if (this.#writer.mark(this.#marks + 1)) this.#marks++
    if (this.#marks < 10) return true
    this.#writer.flush()
    let code = 'none'
    try {
      for (let id = 0; id < 9; id++) this.#full.mark(id)
    } catch (error) {
      code = error.code
    }
    this.port.postMessage({ support: runtimeSupport(), code, marks: this.#marks })
    return false
  }
}

registerProcessor('marks', Marks)
