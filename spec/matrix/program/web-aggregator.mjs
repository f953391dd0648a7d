import 'dirtyring/aggregator'

addEventListener('message', ({ data }) => {
  if (data !== 'throw') return
  setTimeout(() => {
    throw new Error('as told')
  })
})
