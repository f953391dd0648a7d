import type { SealedEpoch } from '../epochs/sealed-epoch.js'
import { cannotContinue } from '../memory/failure.js'
import { FAILED } from '../memory/map.js'
import { nowMs, setTimeout } from '../timers.js'
import { forgetStopped, publishOwn } from '../writer/lanes.js'
import type { Control } from './control.js'
import type { Cut } from './handed-out.js'
import type { Takeover } from './takeover.js'

const GRACE_POLL_MS = 1
/**
 * Between refusing marks and STOP. After it, every core's earlier stores have reached the others;
 * see docs/memory-model.md.
 */
const STORE_MS = 1

/**
 * Seals the last epoch: writers publish, marks are refused, STOP goes in. Each step moves the
 * tracker's phase (lifecycle.ts).
 *
 * @param handOut - hands the last epoch out
 * @param graceMs - the time for writers to publish
 */
export async function sealLastEpoch(
  control: Control,
  takeover: Takeover,
  handOut: (last: Cut) => SealedEpoch,
  graceMs: number,
): Promise<SealedEpoch> {
  const { words } = control.memory
  const { lifecycle } = control
  const startedAt = nowMs()
  lifecycle.beginStop()
  control.close()
  lifecycle.wake()
  try {
    // Writers have half of the time to publish and go on. Then marks are refused, and what is still
    // staged has the other half.
    await untilPublished(control, takeover, startedAt + graceMs / 2)
    control.refuseMarks()
    await new Promise((resolve) => setTimeout(resolve, STORE_MS))
    await untilPublished(control, takeover, startedAt + graceMs)
    if (Atomics.load(words, FAILED) !== 0) throw cannotContinue(words)
    lifecycle.beginLastEpoch()
    const last = control.lastSeal.request(startedAt, handOut)
    takeover.ifAlone()
    return await last
  } catch (reason) {
    lifecycle.lose(reason)
    throw reason
  } finally {
    // No other call does it for this thread's writers: see watchFor() in writer/watch-workers.ts.
    forgetStopped()
  }
}

/**
 * Asks every writer to publish, again and again, until none has anything staged or time is over.
 */
async function untilPublished(
  control: Control,
  takeover: Takeover,
  deadline: number,
): Promise<void> {
  for (;;) {
    takeover.beforeStop()
    publishOwn(control.memory)
    if (nowMs() >= deadline || control.askToPublish()) return
    await new Promise((resolve) => setTimeout(resolve, GRACE_POLL_MS))
  }
}
