/** The picture: tiles of pixels in memory that the page and its workers share. */

export const TILE = 16
export const [COLUMNS, ROWS] = [48, 32]
export const [WIDTH, HEIGHT] = [COLUMNS * TILE, ROWS * TILE]
export const TILES = COLUMNS * ROWS
export const TILE_BYTES = 4 * TILE * TILE

/** Red, green, blue, alpha of each pixel; the pixels of one tile stand together. */
export const createPixels = () => new Uint8ClampedArray(new SharedArrayBuffer(TILES * TILE_BYTES))

export const tileAt = (x, y) => Math.floor(y / TILE) * COLUMNS + Math.floor(x / TILE)

export const cornerOf = (tile) => [TILE * (tile % COLUMNS), TILE * Math.floor(tile / COLUMNS)]

/** Where the bytes of a pixel begin. */
export const offsetOf = (x, y) => tileAt(x, y) * TILE_BYTES + 4 * ((y % TILE) * TILE + (x % TILE))
