// Keeps the page for use without a network: the first load at once, other models when they are asked for.

importScripts("files.js"); // sets FILES: {version, first}; it changes whenever a byte of the page does

const CACHE = `rnnlm-keyboard-${FILES.version}`;
const here = (path) => new URL(path, self.registration.scope).href;

self.addEventListener("install", (event) => {
  const files = ["./", ...FILES.first].map(here);
  event.waitUntil(
    caches.open(CACHE).then((cache) => cache.addAll(files)).then(() => self.skipWaiting()),
  );
});

self.addEventListener("activate", (event) => {
  const isOld = (name) => name.startsWith("rnnlm-keyboard-") && name !== CACHE;
  event.waitUntil(
    caches.keys()
      .then((names) => Promise.all(names.filter(isOld).map((name) => caches.delete(name))))
      .then(() => self.clients.claim()),
  );
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || !request.url.startsWith(self.registration.scope)) return;
  event.respondWith(answer(request));
});

async function answer(request) {
  const cache = await caches.open(CACHE);
  const known = await cache.match(request, { ignoreSearch: true });
  if (known) return known;
  const fresh = await fetch(request);
  if (fresh.ok) await cache.put(request, fresh.clone());
  return fresh;
}
