// A worker that runs the aggregator. The demo starts this worker because it must terminate it on
// purpose. Otherwise the library starts one.
import '../aggregator/worker.js' // you write: import 'dirtyring/aggregator'
