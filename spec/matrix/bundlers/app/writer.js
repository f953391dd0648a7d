import { openWriter } from 'dirtyring'

onmessage = ({ data: { handle, first } }) => {
  const writer = openWriter(handle)
  for (let row = first; row < first + 1000; row++) writer.mark(row)
  writer.close()
  postMessage('done')
}
