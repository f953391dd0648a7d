import { describe, expect, it } from '@jest/globals'
import { mergeWord } from '../../lib/memory/plan.js'
import { newPlace, type Place, planCut, planLast } from '../../lib/tracker/places.js'

const place = (more: Partial<Place> = {}): Place => ({ ...newPlace(false), ...more })

describe('the plan of a cut', () => {
  it('is none if there are too few slots', () => {
    const some = place({ choice: 0, wanted: [3] })
    expect(planCut([], 1, [], undefined)).toBe(undefined)
    expect(planCut([some], 1, [2], some)).toBe(undefined)
    expect(planCut([some], 1, [2], undefined)).toBe(undefined)
    expect(planCut([place(), place()], 1, [2], undefined)).toBe(undefined)
  })

  it('without a consumer promises no slot', () => {
    expect(planCut([], 1, [3, 0], undefined)).toEqual({
      merges: [],
      own: 0,
      open: 0,
      promised: -1,
      backlogs: [],
      free: [3, 1],
    })
  })

  it('gives a consumer of all namespaces what was sealed, as it is', () => {
    const [cutter, other] = [place(), place()]
    expect(planCut([cutter, other], 1, [4, 3, 0], cutter)).toEqual({
      merges: [mergeWord(1, 3, true, -1)],
      own: 0,
      open: 0,
      promised: 1,
      backlogs: [[other, 3]],
      free: [4],
    })
  })
})

describe('the plan of the last epoch', () => {
  it('unites it with each backlog, and with what was given back, in slot 0 too', () => {
    const places = [
      place({ backlog: 0, older: 2 }),
      place({ backlog: 3, older: 0 }),
      place({ backlog: 4 }),
      place(),
      place({ backlog: 5, isClosed: true }),
      place({ choice: 1, wanted: [7] }),
    ]
    const merges = [
      mergeWord(1, 0, false, -1),
      mergeWord(2, 0, false, -1),
      mergeWord(1, 3, false, -1),
      mergeWord(0, 3, false, -1),
      mergeWord(1, 4, false, -1),
      mergeWord(1, 6, true, 1),
    ]
    expect(planLast(places, 1, [7, 6])).toEqual({
      merges,
      own: merges.length,
      backlogs: [
        [places[0], 0],
        [places[1], 3],
        [places[2], 4],
        [places[5], 6],
      ],
      free: [7],
    })
  })
})
