/**
 * Faults of the shipped source, each a small edit, and the scenario that has to find it. Those with
 * `model` are breakages that protocol.md tells of: a rule of the protocol was found by taking it
 * out. `file` is a file of lib/, `find` must stand in it exactly once.
 */
import { mutants as ofTheAggregator } from './aggregator.mjs'
import { mutants as ofConsumers } from './consumers.mjs'
import { mutants as ofTheDictionary } from './dictionary.mjs'
import { mutants as ofEnds } from './ends.mjs'
import { mutants as ofNamespaces } from './namespaces.mjs'
import { mutants as ofReaders } from './readers.mjs'
import { mutants as ofTheRing } from './ring.mjs'
import { mutants as ofSupersets } from './supersets.mjs'
import { mutants as ofTexts } from './texts.mjs'
import { mutants as ofWaking } from './waking.mjs'

export const mutants = [
  ...ofTheRing,
  ...ofTheAggregator,
  ...ofEnds,
  ...ofTexts,
  ...ofSupersets,
  ...ofConsumers,
  ...ofNamespaces,
  ...ofReaders,
  ...ofWaking,
  ...ofTheDictionary,
]
