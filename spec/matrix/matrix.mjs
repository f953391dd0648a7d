/** For the spec: runs one column quickly, and prints its result as the last line. */
import { withApp } from './app.mjs'
import { columns, runColumn } from './columns.mjs'

const column = columns.find(({ id }) => id === process.argv[2])
const result = await withApp((app) => runColumn(column, { ...app, choice: { isQuick: true } }))
console.log(JSON.stringify(result))
