/** The world: some values for each entity, in memory that all threads share. */

/** Which value of an entity. */
export const [X, Y, HEALTH, VALUES] = [0, 1, 2, 3]

export const SIZE = 100_000

export function createWorld(entities) {
  const world = new Int32Array(new SharedArrayBuffer(4 * VALUES * entities))
  for (let entity = 0; entity < entities; entity++) {
    world[VALUES * entity + X] = SIZE * Math.random()
    world[VALUES * entity + Y] = SIZE * Math.random()
    world[VALUES * entity + HEALTH] = 100
  }
  return world
}
