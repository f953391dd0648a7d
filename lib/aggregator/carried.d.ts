/**
 * The aggregator's worker as one script that imports nothing, for hosts in which a worker cannot
 * find a file beside this one. The build makes it of worker.ts (carry.js). In it '<kernel>' stands
 * for the kernel's code.
 */
export const CARRIED: string
