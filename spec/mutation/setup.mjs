// That a property fails is enough: the smallest example of a mutant is of no use.
if (globalThis.hasProperties) {
  const { default: fc } = await import('fast-check')
  fc.configureGlobal({ endOnFailure: true })
}
