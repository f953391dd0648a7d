/**
 * A clock that a spec can hold. Import it before the library: that takes performance.now as it
 * finds it.
 */

const real = performance.now.bind(performance)
let held: number | undefined

performance.now = () => held ?? real()

/** The library's clock stands still, but for what `pass()` says, until `end()`. */
export function holdClock(): { pass(ms: number): void; end(): void } {
  held = Math.ceil(real())
  return {
    pass: (ms) => {
      held = held! + ms
    },
    end: () => {
      held = undefined
    },
  }
}
