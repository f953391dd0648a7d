/**
 * benchmark.js, and what is timed with it: the calls alone, without what has to be done before and
 * after them.
 */
import Benchmark from 'benchmark'
import { args, report, unlessQuick } from './args.js'

/** What a call gave is stored here, so that no compiler leaves the call away. */
const sink = { last: undefined }

/**
 * A run of `calls` calls, numbered from 0. A call site that has seen one kind of call is what
 * applications have.
 */
export function each(calls, call) {
  return () => {
    for (let i = 0; i < calls; i++) sink.last = call(i)
  }
}

/**
 * ns a call, `calls` of which run() makes; the median of the samples. benchmark.js decides how
 * often.
 */
export function nsOf(run, calls, { before = () => undefined, after = () => undefined } = {}) {
  const samples = []
  const timed = () => {
    before()
    const began = process.hrtime.bigint()
    sink.last = run()
    samples.push(Number(process.hrtime.bigint() - began) / calls)
    after()
  }
  const { error } = new Benchmark(
    '',
    timed,
    unlessQuick(
      { maxTime: 0.2, minTime: 0.01, minSamples: 3 },
      { maxTime: 0.01, minTime: 0.001, minSamples: 2 },
    ),
  ).run()
  if (error) throw error
  samples.sort((a, b) => a - b)
  return samples[samples.length >> 1]
}

/**
 * Answers with the ns a call of the one of `runs` that was asked for by name; without a name, with
 * the names.
 */
export function bench(runs, calls, around) {
  report(args.name === undefined ? Object.keys(runs) : nsOf(runs[args.name], calls, around))
}
