import { expect } from '@jest/globals'

export const INVALID_ARG = { name: 'TypeError', code: 'ERR_DIRTYRING_INVALID_ARG' }

export const OUT_OF_RANGE = { name: 'RangeError', code: 'ERR_DIRTYRING_OUT_OF_RANGE' }

/** The error's class and code, and that its message has every part. */
export function expectError(
  error: any,
  kind: { name: string; code: string },
  ...parts: string[]
): void {
  expect({ name: error.name, code: error.code }).toEqual(kind)
  expect(error).toBeInstanceOf(Error)
  for (const part of parts) expect(error.message).toContain(part)
}
