/**
 * Gives a page shared memory where the host cannot set headers, as on GitHub Pages. The page loads
 * this script in the place of its module, and names the module in `data-then`. The script registers
 * itself as a service worker, which adds the two headers to every answer, and loads the page once
 * more. Where the headers are there already, it starts the module at once.
 */
const TRIED = 'isolate.tried'
/** A page that still lacks the headers so soon after it was loaded for them does not get them. */
const TRIED_MS = 10_000

if (typeof document === 'undefined') serve()
else isolate()

function serve() {
  self.addEventListener('install', () => self.skipWaiting())
  self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()))
  self.addEventListener('fetch', (event) => {
    const { request } = event
    if (request.cache === 'only-if-cached' && request.mode !== 'same-origin') return
    event.respondWith(withHeaders(request))
  })
}

async function withHeaders(request) {
  const response = await fetch(request)
  if (response.type === 'opaque' || response.status === 0) return response
  const headers = new Headers(response.headers)
  headers.set('Cross-Origin-Opener-Policy', 'same-origin')
  headers.set('Cross-Origin-Embedder-Policy', 'require-corp')
  headers.set('Cross-Origin-Resource-Policy', 'same-origin')
  const { status, statusText } = response
  const body = status === 204 || status === 304 ? null : response.body
  return new Response(body, { status, statusText, headers })
}

async function isolate() {
  const { src, dataset } = document.currentScript
  if (!globalThis.crossOriginIsolated && (await reloads(src))) return
  const script = document.createElement('script')
  script.type = 'module'
  script.src = dataset.then
  document.head.append(script)
}

/** Whether the page is about to be loaded once more, with the headers. */
async function reloads(src) {
  const { serviceWorker } = navigator
  try {
    if (Date.now() - Number(sessionStorage.getItem(TRIED)) < TRIED_MS) return false
    const { active } = await serviceWorker.register(src)
    // One that is active already takes over no page that was loaded without it: a hard reload.
    if (active === null && serviceWorker.controller === null)
      await new Promise((resolve) =>
        serviceWorker.addEventListener('controllerchange', resolve, { once: true }),
      )
    sessionStorage.setItem(TRIED, String(Date.now()))
  } catch {
    return false // the module says what it lacks
  }
  location.reload()
  return true
}
