import 'dirtyring/aggregator'
