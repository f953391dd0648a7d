import { beforeEach, describe, expect, it, jest } from '@jest/globals'

/** What is asked of the disk, in order; a call that is named in `refusals` fails. */
let calls: string[]
let refusals: Record<string, string>

function ask(call: string): void {
  calls.push(call)
  const code = refusals[call]
  if (code !== undefined) throw Object.assign(new Error(code), { code })
}

const fs = {
  async open(path: string, how: string) {
    ask(`open ${path} ${how}`)
    return {
      writeFile: async (bytes: Uint8Array) => ask(`write ${bytes.join()}`),
      sync: async () => ask(`sync ${path}`),
      close: async () => ask(`close ${path}`),
    }
  },
  rename: async (from: string, to: string) => ask(`rename ${from} ${to}`),
  async readFile(path: string) {
    ask(`read ${path}`)
    return Uint8Array.of(5)
  },
}
jest.unstable_mockModule('node:fs/promises', () => fs)
const { loadState, saveState } = await import('../../lib/node.js')

const tracker = { save: () => Uint8Array.of(1, 2) }
const FOLDER = ['open /d r', 'sync /d', 'close /d']
const WRITE = ['open /d/state.new w', 'write 1,2', 'sync /d/state.new', 'close /d/state.new']
const SAVE = [...WRITE, 'rename /d/state.new /d/state', ...FOLDER]
const LOAD = ['rename /d/state /d/state.loaded', ...FOLDER, 'read /d/state.loaded']

beforeEach(() => {
  calls = []
  refusals = {}
})

describe('saveState()', () => {
  it.each(['/d/state', new URL('file:///d/state')])(
    'has all on the disk before the file has its name, and the name too: %s',
    async (path) => {
      await saveState(path, tracker)
      expect(calls).toEqual(SAVE)
    },
  )

  it.each(['write 1,2', 'sync /d/state.new'])(
    'leaves the file that was there alone when it fails: %s',
    async (call) => {
      refusals[call] = 'ENOSPC'
      await expect(saveState('/d/state', tracker)).rejects.toThrow('ENOSPC')
      expect(calls).toEqual([...WRITE.slice(0, WRITE.indexOf(call) + 1), WRITE[3]])
    },
  )

  it.each(['EISDIR', 'EPERM', 'EACCES', 'EINVAL'])(
    'asks for no more than a host can do with a folder: %s',
    async (code) => {
      for (const call of FOLDER.slice(0, 2)) {
        refusals = { [call]: code }
        calls = []
        await saveState('/d/state', tracker)
        expect(calls).toEqual(call === 'sync /d' ? SAVE : SAVE.slice(0, -2))
      }
    },
  )

  it('rejects where the disk refuses to keep the name, and closes the folder', async () => {
    refusals = { 'sync /d': 'EIO' }
    await expect(saveState('/d/state', tracker)).rejects.toThrow('EIO')
    expect(calls).toEqual(SAVE)
  })
})

describe('loadState()', () => {
  it('renames the file before it reads it, on the disk too', async () => {
    expect(await loadState('/d/state')).toEqual(Uint8Array.of(5))
    expect(calls).toEqual(LOAD)
  })

  it('gives nothing where there is no file, and no more than that is no error', async () => {
    refusals = { [LOAD[0]]: 'ENOENT' }
    expect(await loadState('/d/state')).toBeUndefined()
    refusals = { [LOAD[0]]: 'EACCES' }
    await expect(loadState('/d/state')).rejects.toThrow('EACCES')
    expect(calls).toEqual([LOAD[0], LOAD[0]])
  })
})
