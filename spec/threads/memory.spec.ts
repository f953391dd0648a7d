import { describe, expect, it } from '@jest/globals'
import { runProgram } from '../support/program.js'

/** Objects that are there, of how many. */
type Alive = [alive: number, of: number]

describe('a tracker that has stopped', () => {
  it('is kept in memory by no thread, unless code of the user holds it there', async () => {
    const { own, shared, read } = await runProgram('memory')

    const { 'inline: keeps the last epoch': held, ...others } = own as Record<string, Alive>
    expect(Object.entries(others).filter(([, [alive]]) => alive > 0)).toEqual([])
    expect(Object.keys(others).length).toBeGreaterThan(10)
    // What is held is counted, so that a zero above does not only say that nothing was seen.
    expect(held[0]).toBe(held[1])
    expect(read).toEqual([[7], [7], [7]])

    const { 'keeps the handle': handles, ...uses } = shared as Record<
      string,
      { here: Alive; there: Alive }
    >
    const kept = Object.entries(uses).filter(([, { here, there }]) => here[0] + there[0] > 0)
    expect(kept).toEqual([])
    expect(Object.keys(uses).length).toBeGreaterThan(8)
    expect(handles.here[0]).toBe(0)
    expect(handles.there[0]).toBe(handles.there[1])
  })
})

// Linux keeps to the limit that `ulimit -v` sets; other systems do not.
const onLinux = process.platform === 'linux' ? it : it.skip

describe('a limited address space', () => {
  onLinux(
    "kernel 'auto' takes no memory that would leave threads no room to start in",
    async () => {
      const args = { count: 4, kernel: 'auto' }
      expect(await runProgram('address-space', args, { addressSpaceGiB: 12 })).toEqual({
        kernels: ['js', 'js', 'js', 'js'],
        keys: [[0], [1], [2], [3]],
      })
    },
  )

  onLinux("kernel 'wasm' says what helps, and that helps", async () => {
    const args = { count: 2, kernel: 'wasm' }
    const option = '--disable-wasm-trap-handler'
    const refused = await runProgram('address-space', args, { addressSpaceGiB: 10 })
    expect(refused).toMatchObject({
      kernels: ['ERR_DIRTYRING_OUT_OF_RANGE', 'ERR_DIRTYRING_OUT_OF_RANGE'],
      keys: [],
    })
    expect(refused.message).toContain(option)
    const limits = { addressSpaceGiB: 10, execArgv: [option] }
    expect(await runProgram('address-space', args, limits)).toEqual({
      kernels: ['wasm', 'wasm'],
      keys: [[0], [1]],
    })
  })
})
