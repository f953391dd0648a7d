/** What the spec passed to runProgram(). */
export const args = JSON.parse(process.argv[2] ?? '{}')

/** The program's last line: what the spec gets back. A bigint is written as a string. */
export function verdict(result) {
  console.log(
    JSON.stringify(result, (_key, value) => (typeof value === 'bigint' ? String(value) : value)),
  )
}
