export default {
  entry: ['server.js', 'server-writer.js'],
  fixedExtension: false,
}
