// A worker that runs the aggregator, started by the demo itself so that it can terminate it on
// purpose; else the library starts one of its own.
import '../aggregator/worker.js' // you write: import 'dirtyring/aggregator'
