declare module 'murmurhash3js-revisited'
