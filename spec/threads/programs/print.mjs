import { writeSync } from 'node:fs'
import { format } from 'node:util'

/**
 * console.log() of an example: says which line of which document prints. On any thread, and at
 * once: nothing of it is lost when the process ends.
 */
export const at =
  (place) =>
  (...what) =>
    say({ place, text: format(...what) })

export function say(line) {
  writeSync(1, `${JSON.stringify(line)}\n`)
}
