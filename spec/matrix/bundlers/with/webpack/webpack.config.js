export default [
  {
    name: 'page',
    entry: './page.js',
    output: { filename: 'page.js' },
    devServer: {
      static: '.',
      headers: {
        'Cross-Origin-Opener-Policy': 'same-origin',
        'Cross-Origin-Embedder-Policy': 'require-corp',
      },
    },
  },
  {
    name: 'server',
    target: 'node',
    entry: './server.js',
    output: { filename: 'server.js' },
  },
  {
    name: 'server-esm',
    target: 'node',
    entry: './server.js',
    experiments: { outputModule: true },
    output: { filename: 'server.js', module: true, chunkFormat: 'module' },
  },
]
