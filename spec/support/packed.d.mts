export const root: string
export function plainEnvironment(): Record<string, string>
export function npm(args: string[], cwd: string): string
export function pack(folder: string): string
export function installTarball(folder: string, tarball: string): void
export function projectWith(folder: string, tarball: string, manifest?: object): string
export function installNested(folder: string, options?: { omit?: boolean }): void
export function run(
  command: string,
  args: string[],
  options?: { cwd?: string; timeoutMs?: number; env?: Record<string, string> },
): { status: number | string; stdout: string; stderr: string }
