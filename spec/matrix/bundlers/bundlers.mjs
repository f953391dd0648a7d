/**
 * What each bundler does with the app: the commands that a newcomer would type. `page` is built and
 * served from `dist`, or served by the bundler's own server. `node` is built and run. No command
 * here, and no file in with/, names dirtyring.
 */

// These bundlers leave `new URL('./writer.js', import.meta.url)` as it is, so that the worker is an
// entry point beside the page.
const page = ['page.js', 'writer.js']
const server = ['server.js', 'server-writer.js']

const hosted = ['--host', '127.0.0.1', '--port', 'PORT']

const vite = {
  with: 'vite',
  page: { dev: ['vite', ...hosted, '--strictPort'], build: [['vite', 'build']] },
  node: {
    build: [
      ['vite', 'build', '--ssr', 'server.js'],
      ['vite', 'build', '--ssr', 'server-writer.js', '--emptyOutDir=false'],
    ],
    run: ['node', 'dist/server.js'],
  },
}

const node = { run: ['node', 'dist/server.js'] }
const production = ['--mode', 'production']

export const bundlers = [
  { name: 'Vite 5', package: 'vite-5', ...vite },
  { name: 'Vite 8', package: 'vite', ...vite },
  {
    name: 'webpack 5',
    package: 'webpack',
    needs: ['webpack-cli', 'webpack-dev-server'],
    with: 'webpack',
    page: {
      dev: ['webpack', 'serve', '--config-name', 'page', '--mode', 'development', ...hosted],
      build: [['webpack', '--config-name', 'page', ...production]],
      classic: true,
    },
    node: {
      ...node,
      commonjs: true,
      build: [['webpack', '--config-name', 'server', ...production]],
    },
  },
  {
    name: 'webpack 5.107',
    package: 'webpack-5-107',
    needs: ['webpack-cli'],
    with: 'webpack',
    env: { WEBPACK_PACKAGE: 'webpack-5-107' },
    page: { build: [['webpack', '--config-name', 'page', ...production]], classic: true },
    node: {
      ...node,
      commonjs: true,
      build: [['webpack', '--config-name', 'server', ...production]],
    },
  },
  {
    name: 'webpack 5.107, ES modules',
    package: 'webpack-5-107',
    needs: ['webpack-cli'],
    with: 'webpack',
    env: { WEBPACK_PACKAGE: 'webpack-5-107' },
    node: { ...node, build: [['webpack', '--config-name', 'server-esm', ...production]] },
  },
  {
    name: 'Rspack 2',
    package: '@rspack/core',
    needs: ['@rspack/cli', '@rspack/dev-server'],
    with: 'rspack',
    page: {
      dev: ['rspack', 'serve', '--config-name', 'page', '--mode', 'development', ...hosted],
      build: [['rspack', 'build', '--config-name', 'page', ...production]],
      classic: true,
    },
    node: {
      ...node,
      commonjs: true,
      build: [['rspack', 'build', '--config-name', 'server', ...production]],
    },
  },
  {
    name: 'Rspack 2, ES modules',
    package: '@rspack/core',
    needs: ['@rspack/cli'],
    with: 'rspack',
    node: { ...node, build: [['rspack', 'build', '--config-name', 'server-esm', ...production]] },
  },
  {
    name: 'Rollup 4',
    package: 'rollup',
    needs: ['@rollup/plugin-node-resolve'],
    page: { build: [['rollup', ...page, '--dir', 'dist', '--plugin', 'node-resolve']] },
    node: { ...node, build: [['rollup', ...server, '--dir', 'dist', '--plugin', 'node-resolve']] },
  },
  {
    name: 'esbuild',
    package: 'esbuild',
    page: { build: [['esbuild', ...page, '--bundle', '--format=esm', '--outdir=dist']] },
    node: {
      ...node,
      build: [
        ['esbuild', ...server, '--bundle', '--format=esm', '--platform=node', '--outdir=dist'],
      ],
    },
  },
  {
    name: 'esbuild, minified',
    package: 'esbuild',
    page: {
      build: [['esbuild', ...page, '--bundle', '--minify', '--format=esm', '--outdir=dist']],
    },
    node: {
      ...node,
      build: [
        [
          ...['esbuild', ...server, '--bundle', '--minify', '--format=esm'],
          ...['--platform=node', '--outdir=dist'],
        ],
      ],
    },
  },
  ...['Turbopack', 'webpack'].map((by) => ({
    name: `Next 16, ${by}`,
    package: 'next',
    with: 'next',
    page: {
      dev: ['next', 'dev', `--${by.toLowerCase()}`, '--hostname', '127.0.0.1', '--port', 'PORT'],
      build: [['next', 'build', `--${by.toLowerCase()}`]],
      start: ['next', 'start', '--hostname', '127.0.0.1', '--port', 'PORT'],
    },
    // The server is the page's: its routes are in with/next/app.
    node: {},
  })),
  {
    name: 'tsup',
    package: 'tsup',
    newerNode: true,
    node: { ...node, build: [['tsup', ...server, '--format', 'esm']] },
  },
  {
    name: 'ncc',
    package: '@vercel/ncc',
    node: {
      build: [['ncc', 'build', 'server.js', '--asset-builds']],
      run: ['node', 'dist/index.js'],
    },
  },
  {
    name: 'bun build',
    package: 'bun',
    page: { build: [['bun', 'build', ...page, '--outdir', 'dist']] },
    node: { ...node, build: [['bun', 'build', ...server, '--outdir', 'dist', '--target', 'node']] },
  },
  {
    name: 'bun build, run by Bun',
    package: 'bun',
    node: {
      build: [['bun', 'build', ...server, '--outdir', 'dist', '--target', 'bun']],
      run: ['bun', 'dist/server.js'],
    },
  },
  {
    name: 'bun build --compile',
    package: 'bun',
    node: {
      build: [['bun', 'build', '--compile', ...server, '--outfile', 'dist/server']],
      run: ['./dist/server'],
    },
  },
]
