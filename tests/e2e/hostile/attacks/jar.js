// Attacks on the cookies and on the storage that a desktop's page shares with the portal and with other desktops.

const fill = (count, size) => `() => {
  for (let at = 0; at < ${count}; at += 1) {
    document.cookie = 'x' + at + '=' + 'v'.repeat(${size}) + '; path=/; secure; max-age=9999999';
  }
  return document.cookie.length;
}`;
const SIGN_IN_MS = 3000;

const plants = (name, attack, more = {}) => ({
  name: `cookie: ${name}`,
  attack,
  /** Whatever was planted: the gateway must still know the victim, and the victim must be able to sign in. */
  look: async ({ person, lab }) => {
    const tab = await person.page();
    const answer = await tab.goto(`${lab.origin}/`).catch(() => null);
    const known = answer?.ok() && (await tab.getByTestId('sign-out').count()) > 0;
    const seen = known ? [] : ['the start page does not know the victim', ...(await signsIn(tab, lab))];
    await tab.close();
    return seen;
  },
  ...more,
});

/** Whether the victim can sign in, if need be at the second attempt. */
async function signsIn(tab, lab) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await tab.goto(`${lab.origin}/login`);
      if (new URL(tab.url()).origin !== lab.origin) await tab.getByTestId('account-student').click();
      await tab.waitForURL(`${lab.origin}/`, { timeout: SIGN_IN_MS });
      await tab.getByTestId('sign-out').waitFor({ timeout: SIGN_IN_MS });
      return [];
    } catch (error) {
      if (attempt === 2) return [`the victim cannot sign in again: ${error.message.split('\n')[0]}`];
    }
  }
}

/** What the gateway answers to WebSockets of the other desktop's page, which a person reloads once. */
async function socketsOfOther({ person, lab, facts }) {
  const tab = await person.page();
  const from = await lab.log.mark();
  for (let visit = 1; visit <= 2; visit += 1) {
    await tab.goto(lab.origin + facts.other);
    await tab.evaluate(
      (url) => new Promise((resolve) => (new WebSocket(url).onerror = resolve)),
      `wss://${facts.host}${facts.other}websockify`,
    );
  }
  const asked = lab.log.between(from, await lab.log.mark());
  await tab.close();
  // The other desktop of these tests speaks no WebSocket, so 502 says that it was asked.
  const { status } = asked.findLast(({ path }) => path.endsWith('/websockify'));
  return status === 502 ? [] : [`WebSockets to the other desktop are answered ${status}`];
}

export const cookies = [
  plants(
    'the session’s name, with every attribute',
    ({ cookie }) => {
      for (const rest of [
        '; path=/; secure',
        '; path=/',
        '',
        '; path=/; secure; samesite=none',
        '; path=/api; secure',
        '; path=/; secure; domain=localhost',
      ]) {
        document.cookie = `${cookie}=planted${rest}`;
      }
      return document.cookie;
    },
    { unconfined: 'fails' },
  ),
  plants(
    'the session’s name in disguise',
    ({ cookie }) => {
      const names = [
        cookie.toLowerCase(),
        cookie.toUpperCase(),
        ` ${cookie}`,
        `\t${cookie}`,
        `\v${cookie}`,
        `\f${cookie}`,
        `${cookie} `,
        `"${cookie}"`,
      ];
      for (const name of names) document.cookie = `${name}=planted; path=/; secure`;
      document.cookie = `=${cookie}=planted; path=/; secure`;
      document.cookie = `x="; ${cookie}=planted"; path=/; secure`;
      return document.cookie;
    },
    { unconfined: 'fails' },
  ),
  plants(
    'the session’s name behind a Unicode space',
    ({ cookie }) => {
      for (const space of ['\u00a0', '\u2000', '\u3000', '\u0085', '\ufeff'])
        document.cookie = `${space}${cookie}=planted; path=/; secure`;
      return document.cookie;
    },
    { unconfined: 'varies' },
  ),
  plants(
    'the session’s name through the Cookie Store API',
    ({ cookie }) => soon(cookieStore.set({ name: cookie, value: 'planted', path: '/' })),
    { unconfined: 'fails' },
  ),
  plants(
    'the session and the login expire',
    ({ cookie }) => {
      for (const name of [cookie, '__Host-Http-login']) document.cookie = `${name}=; path=/; secure; max-age=0`;
      return soon(cookieStore.delete(cookie));
    },
    { unconfined: 'fails' },
  ),
  plants('what can be read', async () => `${document.cookie}; ${JSON.stringify(await cookieStore.getAll())}`, {
    unconfined: 'fails',
  }),
  plants(
    'a value that is no ASCII',
    () => {
      document.cookie = 'x=\u00fc\u4e2d; path=/; secure; max-age=9999999';
      return document.cookie;
    },
    { unconfined: 'varies' },
  ),
  plants(
    'a value that is no cookie',
    () => {
      for (const text of ['=', '==', 'x', '"', 'x="', 'x=a,b', '%', ',,,']) document.cookie = `${text}; path=/; secure`;
      return document.cookie;
    },
    { unconfined: 'fails' },
  ),
  plants(
    'a value that is no ASCII, and then WebSockets',
    () => {
      document.cookie = 'x=\u00fc\u4e2d; path=/; secure; max-age=9999999';
      return document.cookie;
    },
    { look: socketsOfOther, unconfined: 'fails' },
  ),
  plants('the jar overflows: 300 tiny cookies', fill(300, 3), { expect: 'heals' }),
  plants('the jar overflows: 300 small cookies', fill(300, 40), { expect: 'heals' }),
  plants('the jar overflows: 12 cookies of 900 bytes', fill(12, 900), { expect: 'heals' }),
  plants('the jar overflows: 60 cookies of 4000 bytes', fill(60, 4000), { expect: 'heals' }),
  plants('the jar overflows: as many cookies as it holds, of 4000 bytes', fill(180, 4000), { expect: 'heals' }),
  // Browsers heed Clear-Site-Data on no WebSocket, and the page’s own address carries none of these cookies.
  plants(
    'the way to the other desktop’s WebSocket is filled',
    ({ other }) => {
      for (let at = 0; at < 12; at += 1)
        document.cookie = `x${at}=${'v'.repeat(900)}; path=${other}websockify; secure; max-age=9999999`;
      return 'filled';
    },
    { look: socketsOfOther, unconfined: 'fails' },
  ),
  plants(
    'the way to the other desktop’s WebSocket is filled to the brim',
    ({ other }) => {
      for (let at = 0; at < 140; at += 1)
        document.cookie = `x${at}=${'v'.repeat(4000)}; path=${other}websockify; secure; max-age=9999999`;
      return 'filled';
    },
    { look: socketsOfOther, unconfined: 'fails' },
  ),
  plants('Set-Cookie by the desktop', () => document.cookie, {
    headers: ({ cookie }) => [
      ['Set-Cookie', `${cookie}=planted; Path=/; Secure; HttpOnly; SameSite=Lax`],
      ['Set-Cookie', 'x=planted; Path=/'],
      ['Set-Cookie2', 'x=planted'],
    ],
  }),
  plants('Clear-Site-Data by the desktop', () => late(300), {
    headers: () => [['Clear-Site-Data', '"cookies", "storage", "cache"']],
  }),
];

const has = (name, attack, more = {}) => ({ name: `storage: ${name}`, attack, ...more });

export const storage = [
  has(
    'everything that the portal keeps in the browser',
    async () => {
      const stores = await indexedDB.databases();
      const files = [];
      for await (const name of (await navigator.storage.getDirectory()).keys()) files.push(name);
      const found = [
        Object.keys(localStorage),
        Object.keys(sessionStorage),
        stores.map(({ name }) => name),
        await caches.keys(),
        files,
      ];
      return JSON.stringify(found);
    },
    {
      portal: true,
      unconfined: 'fails',
      look: ({ outcome }) => (outcome.value === '[[],[],[],[],[]]' ? [] : [`something is kept: ${outcome.value}`]),
    },
  ),
  has(
    'values that the portal’s page could believe',
    async () => {
      for (const name of ['csrf-token', 'lang', 'session', 'theme', 'url'])
        localStorage.setItem(name, '<img src=x onerror=alert(1)>');
      const cache = await caches.open('portal');
      await cache.put('/', new Response('<script>alert(1)</script>', { headers: { 'Content-Type': 'text/html' } }));
      await cache.put('/assets/home.js', new Response('alert(1)', { headers: { 'Content-Type': 'text/javascript' } }));
      navigator.locks.request('deskgate', () => new Promise(() => {}));
      return 'stored';
    },
    {
      portal: true,
      unconfined: 'fails',
      look: async ({ portal, lab }) => {
        const dialogs = [];
        portal.on('dialog', (dialog) => dialogs.push(dialog.message()) && dialog.dismiss());
        await portal.reload();
        const token = await portal.locator('meta[name="csrf-token"]').getAttribute('content');
        return token === lab.secrets['CSRF token'] && !dialogs.length ? [] : ['the portal’s page is not what it was'];
      },
    },
  ),
  has(
    'settings of another desktop’s client',
    () => {
      for (const [name, value] of [
        ['host', 'evil.example'],
        ['port', '1'],
        ['encrypt', 'true'],
        ['view_only', 'true'],
      ])
        localStorage.setItem(name, value);
      return 'stored';
    },
    {
      expect: 'open',
      why: 'storage belongs to the origin; only another origin for each desktop separates it',
      look: async ({ person, facts }) => {
        const tab = await person.page();
        await tab.goto(facts.origin + facts.other);
        const found = await tab.evaluate(() => localStorage.getItem('host'));
        await tab.close();
        return found === 'evil.example' ? ['another desktop’s page reads what this one stored'] : [];
      },
    },
  ),
];
