/* eslint-disable no-control-regex */
import { describe, expect, it } from '@jest/globals'
import { type Screen, screenLines } from '../../lib/demo/screen.js'
import { resolveOptions } from '../../lib/index.js'
import { dirtyring, dirtyringOnTerminal } from '../support/command-line.js'

/** Short, and with work enough that every accident strikes a thread at work. */
const short = '--seconds 0.5 --epoch-ms 50 --writers 2 --rows 20000 --rate 50000'.split(' ')

const linesOf = (text: string) => text.trimEnd().split(/\r?\n/)
const verdictOf = (stdout: string) => linesOf(stdout).at(-1)!.replace(/\s+/g, ' ')

/** Windows has neither signals nor the commands that make a terminal here. */
const [onPosix, describeOnPosix] =
  process.platform === 'win32' ? [it.skip, describe.skip] : [it, describe]

describe('the demo', () => {
  it('survives every accident of its script, and proves it', async () => {
    const { code, stdout, stderr } = await dirtyring(['demo', ...short])
    expect(stderr).toBe('')
    expect(stdout).toMatch(
      /writer 0 terminated in mid-batch: [1-9]\d* keys? it had staged: harvested/,
    )
    expect(stdout).toMatch(/aggregator terminated: restarted after .*, 0 lost/)
    const [, failed, , next] =
      /checkpoint of epoch (\d+) threw "the disk is full": restored, its ([\d,]+) keys are in epoch (\d+)/.exec(
        stdout,
      )!
    expect(Number(next)).toBe(Number(failed) + 1)
    expect(stdout).toMatch(/bulk load of all 20,000 rows: an epoch holds 19,000/)
    const [, overflown] =
      /epoch (\d+) has more than 19,000 keys: it says exact: false, so all rows are copied/.exec(
        stdout,
      )!
    expect(stdout).toMatch(new RegExp(`^ +${overflown} .* committed, all rows `, 'm'))
    expect(stdout).toMatch(/writer \d takes the place of writer 0/)
    expect(stdout).toMatch(/^epochs .* 1 restored/m)
    expect(stdout).toMatch(/^aggregator +restarts 1, panics 0$/m)
    expect(stdout).toMatch(/^lost +0 rows/m)
    expect(stdout).toMatch(/^invented +0 rows/m)
    expect(stdout).toMatch(/^copy +equals the store, byte for byte \(1,280,000 bytes\)$/m)
    expect(verdictOf(stdout)).toBe('verdict all agree')
    expect(stdout).not.toMatch(/\x1b/) // no colours where the output is no terminal
    expect(code).toBe(0)
  })

  it('survives them with the smallest ring and lanes, refused marks and single-key batches', async () => {
    const tight =
      '--rows 2000 --rate 5000 --batch-size 1 --capacity 2 --lane-capacity 4 --epoch-slots 2 --flush-interval-ms 0 --on-full reject'.split(
        ' ',
      )
    const { code, stdout } = await dirtyring(['demo', ...short, ...tight])
    expect(verdictOf(stdout)).toBe('verdict all agree')
    expect(code).toBe(0)
  })

  it('does without a thread for the aggregator, with the other kernel', async () => {
    const inline =
      '--seconds 0.2 --aggregator inline --kernel js --max-writers 5 --max-wait-ms 20000'.split(' ')
    const { code, stdout } = await dirtyring(['demo', ...short, ...inline])
    expect(stdout).toMatch(/; kernel js, /)
    expect(stdout).toMatch(/^aggregator +restarts 0, panics 0$/m)
    expect(verdictOf(stdout)).toBe('verdict all agree')
    expect(code).toBe(0)
  })

  it('sees rows that the copy lacks', async () => {
    const { code, stdout } = await dirtyring([
      'demo',
      ...short,
      '--seconds',
      '0',
      '--forget-rows',
      '3',
    ])
    expect(stdout).toMatch(/^copy +3 rows differ from the store$/m)
    expect(verdictOf(stdout)).toBe('verdict WRONG: copy')
    expect(code).toBe(1)
  })

  onPosix('ends early at Ctrl-C, with its proof', async () => {
    let interrupted = false
    const { code, stdout } = await dirtyring(['demo', ...short, '--seconds', '15'], {
      onText(text, { kill }) {
        if (interrupted || !text.includes('committed')) return
        interrupted = true
        kill('SIGINT')
      },
    })
    expect(stdout).toMatch(/interrupted by Ctrl-C/)
    expect(verdictOf(stdout)).toBe('verdict all agree')
    expect(code).toBe(0)
  })
})

describeOnPosix('the demo on a terminal', () => {
  const enter = '\x1b[?1049h\x1b[?25l'
  const leave = '\x1b[?25h\x1b[?1049l'
  const coloursOf = /\x1b\[\d+m/g

  /** What was on the screen, frame by frame, and what was left of it on the screen that stays. */
  function watched(output: string): { frames: string[][]; left: string } {
    expect(output.startsWith(enter)).toBe(true)
    const parts = output.slice(enter.length).split(leave)
    expect(parts).toHaveLength(2)
    const drawn = parts[0].replace(coloursOf, '').replace('^C', '') // the terminal's own echo
    const frames = drawn.split('\x1b[?2026h\x1b[H').slice(1)
    return {
      frames: frames.map((frame) => {
        expect(frame).toMatch(/\x1b\[J\x1b\[\?2026l$/)
        return frame
          .slice(0, frame.lastIndexOf('\x1b[J'))
          .split('\x1b[K')
          .map((line) => line.replace(/^\r+\n/, ''))
          .slice(0, -1)
      }),
      left: parts[1].replace(coloursOf, ''),
    }
  }

  it('draws one screen in place, obeys its keys, and leaves the proof', async () => {
    const keys = [
      { when: /w0 {2}#/, press: 'k' },
      { when: /writer 0 terminated/, press: 'f' },
      { when: /threw "the disk is full"[^]*writer 2 takes the place/, press: 'q' },
    ]
    const { code, stdout } = await dirtyringOnTerminal(
      ['demo', ...short, '--seconds', '15', '--epoch-ms', '100'],
      {
        columns: 110,
        rows: 24,
        onText(text, { press }) {
          if (keys.length > 0 && keys[0].when.test(text.replace(coloursOf, '')))
            press(keys.shift()!.press)
        },
      },
    )
    const { frames, left } = watched(stdout)

    for (const lines of frames) {
      expect(lines.length).toBeLessThanOrEqual(24)
      for (const line of lines) {
        expect(line.length).toBeLessThanOrEqual(110)
        expect(line).not.toMatch(/[\x00-\x1f]/)
      }
    }
    const seen = frames.map((lines) => lines.join('\n'))
    expect(
      seen.some((screen) => /^ writers {3}w0 {2}#[#-]{9} {2}0\.\d\d M\/s +w1 {2}/m.test(screen)),
    ).toBe(true)
    expect(seen.some((screen) => /^ writers {3}w0 {2}x killed +w1 {2}/m.test(screen))).toBe(true)
    expect(seen.some((screen) => /^ writers {3}w2 {2}/m.test(screen))).toBe(true)
    expect(
      seen.some((screen) =>
        /^ ring +\[[#.]{16}\] +\d+\/1,024 batches +\d+ at most +aggregator ok$/m.test(screen),
      ),
    ).toBe(true)
    expect(
      seen.some((screen) =>
        /^ epoch \d+ +[\d,]+ marks -> +[\d,]+ keys +sealed in +[\d.]+ ms +committed +lost 0 {3}invented 0$/m.test(
          screen,
        ),
      ),
    ).toBe(true)
    expect(seen.at(-1)).toMatch(/^ k kill a writer {3}f fail the next checkpoint {3}q end$/m)
    expect(left).toMatch(
      /writer 0 terminated.*\r\n(.*\r\n)*.*threw "the disk is full": restored(.*\r\n)*.*interrupted by q/,
    )
    expect(left).not.toContain('\x1b')
    expect(verdictOf(left)).toBe('verdict all agree')
    expect(code).toBe(0)
  })

  it('puts the terminal back at Ctrl-C, and fits a narrow one; without a keyboard it offers no keys', async () => {
    let interrupted = false
    const { code, stdout } = await dirtyringOnTerminal(['demo', ...short, '--seconds', '15'], {
      columns: 40,
      rows: 9,
      input: 'none',
      onText(text, { press }) {
        if (interrupted || !/w1 +#/.test(text)) return
        interrupted = true
        press('\x03') // the terminal makes a SIGINT of it
      },
    })
    const { frames, left } = watched(stdout)

    for (const lines of frames) expect(lines.length).toBeLessThanOrEqual(9)
    for (const line of frames.flat()) expect(line.length).toBeLessThanOrEqual(40)
    expect(frames.flat().join('\n')).not.toMatch(/ k kill/)
    expect(left).toMatch(/interrupted by Ctrl-C/)
    expect(verdictOf(left)).toBe('verdict all agree')
    expect(code).toBe(0)
  })

  it('writes plain lines there when asked to', async () => {
    const { code, stdout } = await dirtyringOnTerminal(
      ['demo', ...short, '--seconds', '0', '--plain'],
      { columns: 120, rows: 24 },
    )
    expect(stdout).not.toContain(enter)
    expect(stdout).toMatch(/^epoch {3}marks\/s /m)
    expect(verdictOf(stdout.replace(coloursOf, ''))).toBe('verdict all agree')
    expect(code).toBe(0)
  })
})

describe('the demo with processes', () => {
  const shortest = '--processes 3 --seconds 1 --epoch-ms 50 --writers 2 --rows 2000'.split(' ')
  /** Without what moves the cursor, and without colours. */
  const textOf = (stdout: string) => stdout.replace(/\x1b\[[\d;]*[A-Za-z]/g, '')

  it('kills processes, has each death named by an epoch, and proves the copies', async () => {
    const { code, stdout, stderr } = await dirtyring(['demo', ...shortest])

    expect(stderr).toBe('')
    expect(stdout).toMatch(/^3 processes over IPC, 2 writers in each, 5,000 rows\/s each, /)
    expect(stdout).toMatch(
      /node-0, pid \d+, killed: the epoch says so, and [\d,]+ rows were copied/,
    )
    expect(stdout).toMatch(/node-1, pid \d+, ended and was followed by another process: /)
    expect(stdout).toMatch(/node-2, pid \d+, killed: /)
    expect(stdout).toMatch(/^deaths +2 processes killed, 2 named by an epoch$/m)
    expect(stdout).toMatch(/^copy +equals the files, byte for byte \(384,000 bytes\)$/m)
    expect(verdictOf(stdout)).toBe('verdict all agree')
    expect(stdout).not.toMatch(/\x1b/)
    expect(code).toBe(0)
  })

  it('sees rows that the copy lacks', async () => {
    const args = [...shortest, '--seconds', '0', '--forget-rows', '3', '--processes', '1']
    const { code, stdout } = await dirtyring(['demo', ...args])

    expect(stdout).toMatch(/^copy +3 rows differ from the files$/m)
    expect(verdictOf(stdout)).toBe('verdict WRONG: copy')
    expect(code).toBe(1)
  })

  onPosix('redraws its lines on a terminal, and ends early with Ctrl-C', async () => {
    let isAsked = false
    const { code, stdout } = await dirtyringOnTerminal(
      ['demo', ...shortest, '--seconds', '60', '--processes', '1'],
      {
        columns: 140,
        rows: 24,
        onText: (text, { press }) => {
          if (isAsked || !/node-0 +lives/.test(textOf(text))) return
          isAsked = true
          press('\x03')
        },
      },
    )

    expect(stdout).toContain('\x1b[2A\x1b[J')
    expect(textOf(stdout)).toContain('interrupted by Ctrl-C')
    expect(verdictOf(textOf(stdout))).toBe('verdict all agree')
    expect(code).toBe(0)
  })
})

describe('the screen', () => {
  const screen: Screen = {
    settings: {
      seconds: 30,
      writers: 4,
      rows: 200_000,
      rowBytes: 64,
      epochMs: 250,
      theta: 0.99,
      seed: 1,
      rate: 0,
      forgetRows: 0,
      tracker: {},
    },
    options: resolveOptions(),
    kernel: 'wasm',
    bytesReserved: 100 * 2 ** 20,
    look: {
      elapsedS: 12.3,
      writers: [
        { number: 0, marksPerSecond: 7.2e6, state: 'marks' },
        { number: 1, marksPerSecond: 12e6, state: 'waits' },
        { number: 2, marksPerSecond: 0, state: 'starts' },
        { number: 3, marksPerSecond: 5e6, state: 'killed' },
      ],
      queued: 256,
      queuedPeak: 1007,
      health: {
        panics: 0,
        restarts: 1,
        iterations: 9,
        healthy: true,
        finished: false,
        state: 'running',
      },
    },
    epoch: {
      id: 7,
      marksPerSecond: 1e6,
      marks: 1_204_331,
      keys: 88_214,
      exact: true,
      queued: 31,
      sealMs: 0.4,
      outcome: 'committed',
      lost: 0,
      invented: 0,
    },
    notes: [
      { atS: 6, text: 'writer 3 terminated in mid-batch: 37 keys it had staged: harvested' },
      {
        atS: 11.5,
        text: 'aggregator terminated: restarted after 97 ms, with 12 batches in the ring, 0 lost',
      },
    ],
    fullMarksPerSecond: 12e6,
    keys: 'k kill a writer   q end',
  }
  const textOf = (columns: number, rows = 50, changed: Partial<Screen> = {}) =>
    screenLines({ ...screen, ...changed }, columns, rows).map((line) =>
      line
        .map(({ text }) => text)
        .join('')
        .trimEnd(),
    )

  it('is what it is said to be', () => {
    expect(textOf(130)).toEqual([
      ' dirtyring 12 s of 30   200,000 rows of 64 bytes, Zipf 0.99   an epoch every 250 ms   kernel wasm, 100.0 MiB reserved',
      '',
      ' writers   w0  ######----  7.20 M/s    w1  ########## 12.00 M/s    w2  starts                  w3  x killed',
      ' ring      [####............]   256/1,024 batches   1,007 at most   aggregator ok, 1 restart',
      ' epoch 7   1,204,331 marks ->  88,214 keys   sealed in 0.40 ms   committed   lost 0   invented 0',
      '',
      '  6.0 s  writer 3 terminated in mid-batch: 37 keys it had staged: harvested',
      ' 11.5 s  aggregator terminated: restarted after 97 ms, with 12 batches in the ring, 0 lost',
      '',
      ' k kill a writer   q end',
    ])
  })

  it('puts below each other what does not fit beside each other', () => {
    expect(textOf(60).slice(4, 14)).toEqual([
      ' writers   w0  ######----  7.20 M/s',
      '           w1  ########## 12.00 M/s',
      '           w2  starts',
      '           w3  x killed',
      ' ring      [####............]   256/1,024 batches',
      '           1,007 at most   aggregator ok, 1 restart',
      ' epoch 7   1,204,331 marks ->  88,214 keys',
      '           sealed in 0.40 ms   committed',
      '           lost 0   invented 0',
      '',
    ])
  })

  it.each([1, 2, 10, 11, 12, 20, 33, 80, 200])(
    'never exceeds %i columns, nor its rows',
    (columns) => {
      for (const rows of [1, 5, 12, 30]) {
        const lines = textOf(columns, rows)
        expect(lines.length).toBeLessThanOrEqual(rows)
        for (const line of lines) expect(line.length).toBeLessThanOrEqual(columns)
      }
    },
  )

  it('lets the oldest notes go when there are too many, and counts the writers that it leaves out', () => {
    const notes = Array.from({ length: 40 }, (_, i) => ({ atS: i, text: `note ${i}` }))
    const many = Array.from({ length: 256 }, (_, number) => ({
      number,
      marksPerSecond: 1e6,
      state: 'marks' as const,
    }))
    const lines = textOf(80, 24, { notes, look: { ...screen.look, writers: many } })
    expect(lines).toHaveLength(24)
    expect(lines.filter((line) => line.includes('note '))).toEqual(
      expect.arrayContaining([expect.stringMatching(/note 39$/)]),
    )
    expect(lines.join('\n')).not.toMatch(/note [0-9]$/m)
    expect(lines.join('\n')).toMatch(/w10 .*and 245 more$/m)
  })

  it('says what is wrong', () => {
    const health = { ...screen.look.health, state: 'restarting' as const, panics: 2 }
    const lines = screenLines(
      {
        ...screen,
        look: { ...screen.look, health },
        epoch: { ...screen.epoch!, exact: false, lost: 3 },
      },
      200,
      50,
    ).flat()
    expect(lines).toContainEqual({
      text: 'aggregator restarting, 1 restart, 2 panics',
      colour: 'red',
    })
    expect(lines).toContainEqual({ text: 'lost 3   invented 0', colour: 'red' })
    expect(lines).toContainEqual({ text: 'committed, all rows', colour: 'yellow' })
  })
})
