export function isInstalled(program: string): boolean
export function freePort(): Promise<number>

export class Server {
  static start(
    program: string,
    readyText: string,
    argsOf: (port: number, folder: string) => string[],
  ): Promise<Server>
  static nats(more?: readonly string[]): Promise<Server>
  static redis(more?: readonly string[]): Promise<Server>
  readonly port: number
  readonly folder: string
  readonly deaths: readonly string[]
  start(): Promise<void>
  kill(): Promise<void>
  freeze(): void
  thaw(): void
  keep(): void
  restore(): void
  end(): Promise<void>
}

export class Line {
  static to(port: number): Promise<Line>
  readonly port: number
  readonly answersLost: number
  mute(): void
  unmute(): void
  cut(): void
  end(): Promise<void>
}
