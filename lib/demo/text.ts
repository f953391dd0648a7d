/** How the demo and the doctor write numbers. */

export function whole(count: number): string {
  return count.toLocaleString('en-US')
}

export function counted(count: number, noun: string): string {
  return `${whole(count)} ${noun}${count === 1 ? '' : 's'}`
}

export function milliseconds(ms: number): string {
  return `${ms.toFixed(ms < 10 ? 2 : 0)} ms`
}

export function bytes(count: number): string {
  if (count < 2 ** 20) return `${(count / 2 ** 10).toFixed(0)} KiB`
  return count < 2 ** 30
    ? `${(count / 2 ** 20).toFixed(1)} MiB`
    : `${(count / 2 ** 30).toFixed(1)} GiB`
}
