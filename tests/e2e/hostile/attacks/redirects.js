// Attacks that let the desktop's server redirect what a page may load to where it may not.

const hop = (status, ...locations) => ({ status, headers: locations.map((to) => ['Location', to]), body: '' });

/** Where a redirect may try to go, and how it writes that. */
const targets = [
  ['the API', () => '/api/container/list'],
  ['the API, with our origin', ({ origin }) => `${origin}/api/container/list`],
  ['the API, climbing', () => '../../../../api/container/list'],
  ['the API, climbing in code', ({ own }) => `${own}%2e%2e/%2e%2e/api/container/list`],
  ['the API, climbing in double code', ({ own }) => `${own}..%2f..%2fapi/container/list`],
  ['the start page', ({ origin }) => `${origin}/`],
  ['the victim’s other desktop', ({ other }) => other],
  ['the other desktop, with our origin', ({ origin, other }) => origin + other],
  ['a foreign server', ({ evil }) => `${evil}/r`],
  ['a foreign server, without scheme', ({ evilHost }) => `//${evilHost}/r`],
  ['a foreign server, with backslashes', ({ evilHost }) => `\\\\${evilHost}/r`],
  ['a foreign server, with slash and backslash', ({ evilHost }) => `/\\${evilHost}/r`],
  ['a foreign server, with a tab', ({ evilHost }) => `/\t/${evilHost}/r`],
  ['a foreign server, three slashes', ({ evilHost }) => `https:///${evilHost}/r`],
  ['a foreign server, without slashes', ({ evilHost }) => `https:${evilHost}/r`],
  ['our host as a user’s name', ({ host, evilHost }) => `https://${host.replace(':', '%3a')}@${evilHost}/r`],
  ['our host without TLS', ({ host }) => `http://${host}/api/container/list`],
  ['another port of our host', ({ provider }) => `${provider}/`],
  ['javascript:', () => 'javascript:fetch("/api/container/list")'],
  ['data:', () => 'data:text/html,<script>fetch("/api/container/list")</script>'],
  ['blob: and filesystem:', ({ origin }) => `blob:${origin}/00000000-0000-4000-8000-000000000000`],
];

/** Every way in which a page follows a redirect. */
const followed = async ({ own }) => {
  const at = `${own}hop`;
  const all = [
    soon(read(at)),
    soon(read(at, { mode: 'no-cors', method: 'POST', body: 'x' })),
    soon(frame({ src: at })),
    ...['img', 'script', 'video'].map((tag) => soon(element(tag, { src: `${at}?${tag}` }).then(([, heard]) => heard))),
    soon(element('link', { rel: 'stylesheet', href: `${at}?css` }).then(([, heard]) => heard)),
    soon(event(new EventSource(`${at}?events`), 'open', 'error')),
    soon(message(new Worker(`${at}?worker`)), 400),
    soon(import(`${at}?module`)),
  ];
  return (await Promise.all(all)).map(String).join('; ');
};

// Nowhere: such an address cannot be followed by a page's parts, confined or not.
const LEADS_NOWHERE = new Set([
  'the API, climbing in double code',
  'javascript:',
  'data:',
  'blob: and filesystem:',
  'a foreign server, without slashes',
  'our host as a user’s name',
  'our host without TLS',
  'another port of our host',
]);

const everywhere = targets.map(([what, where]) => ({
  name: `redirect to ${what}`,
  answers: (facts) => ({ [`${facts.own}hop`]: hop(302, where(facts)) }),
  attack: followed,
  unconfined: LEADS_NOWHERE.has(what) ? 'varies' : 'succeeds',
}));

const statuses = [300, 301, 303, 307, 308].map((status) => ({
  name: `redirect with ${status} to the API and to a foreign server`,
  answers: ({ own, origin, evil }) => ({
    [`${own}one`]: hop(status, `${origin}/api/container/list`),
    [`${own}two`]: hop(status, `${evil}/r`),
  }),
  attack: async ({ own }) => {
    const all = ['one', 'two'].map((at) => soon(read(own + at, { method: 'POST', body: '{}', mode: 'no-cors' })));
    return Promise.all([...all, frame({ src: `${own}one` }), frame({ src: `${own}two` })]);
  },
  // 300 is followed by nobody's fetch that way.
  unconfined: status === 300 ? 'varies' : 'succeeds',
}));

const chains = [
  {
    name: 'redirect over five hops of its own',
    answers: ({ own, evil }) => ({
      ...Object.fromEntries([0, 1, 2, 3, 4].map((at) => [`${own}hop${at}`, hop(302, `hop${at + 1}`)])),
      [`${own}hop5`]: hop(302, `${evil}/r`),
    }),
    attack: ({ own }) => Promise.all([soon(read(`${own}hop0`)), frame({ src: `${own}hop0` })]),
  },
  {
    name: 'redirect with two addresses',
    answers: ({ own, evil, origin }) => ({
      [`${own}hop`]: hop(302, `${own}x`, `${evil}/r`, `${origin}/api/container/list`),
    }),
    attack: ({ own }) => Promise.all([soon(read(`${own}hop`)), frame({ src: `${own}hop` })]),
    unconfined: 'varies',
  },
  {
    name: 'redirect by the header Refresh, in a frame',
    answers: ({ own, evil }) => ({
      [`${own}hop`]: {
        status: 200,
        headers: [
          ['Content-Type', 'text/html'],
          ['Refresh', `0;url=${evil}/r`],
        ],
        body: 'x',
      },
    }),
    attack: ({ own }) => frame({ src: `${own}hop` }),
    settle: 500,
  },
  {
    name: 'redirect by the header Refresh, of this tab',
    headers: ({ evil }) => [['Refresh', `0;url=${evil}/r`]],
    attack: () => late(500),
  },
  {
    name: 'redirect of this tab by the server',
    answers: ({ own, evil }) => ({ [`${own}hop`]: hop(302, `${evil}/r`) }),
    attack: ({ own }) => {
      location.href = `${own}hop`;
      return late(500);
    },
    // The gateway's page says so.
    tolerates: /^GET \/assets\/(deskgate\.css|favicon\.svg) /,
  },
  {
    name: 'redirect of a WebSocket',
    answers: ({ own, host }) => ({ [`${own}hop`]: hop(302, `wss://${host}/api/container/events`) }),
    attack: ({ own, host }) => socket(`wss://${host}${own}hop`),
    unconfined: 'fails',
  },
];

export const redirects = [...everywhere, ...statuses, ...chains];
