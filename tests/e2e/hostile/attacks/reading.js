// Attacks on the token that the start page carries, and on everything else that the victim could read there.

const page = (body, type = 'text/html') => ({ status: 200, headers: [['Content-Type', type]], body });
const read = (name, attack, more = {}) => ({ name: `token: ${name}`, attack, ...more });

export const reading = [
  read('fetch of the start page', () => window.read('/')),
  read('fetch of the account page', () => window.read('/account')),
  read('fetch that claims to want a page', () =>
    window.read('/', { headers: { Accept: 'text/html' }, mode: 'same-origin' }),
  ),
  read(
    'fetch with the address and referrer of the start page',
    () => {
      history.replaceState(null, '', '/');
      return window.read('/', { referrer: '/' });
    },
    { stays: true },
  ),
  read('XMLHttpRequest for a document', async () => {
    const ask = new XMLHttpRequest();
    ask.open('GET', '/');
    ask.responseType = 'document';
    const heard = event(ask, 'load', 'error');
    ask.send();
    return `${await heard}: ${ask.response?.documentElement.outerHTML}`;
  }),
  read('iframe', () => frame({ src: '/' })),
  read('iframe without credentials', () => frame({ src: '/', credentialless: '' })),
  read(
    'iframe that leaves for the start page by itself',
    async ({ own }) => {
      const [made] = await element('iframe', { src: `${own}inner` });
      await late(500);
      return made.contentDocument?.documentElement.outerHTML;
    },
    { answers: ({ own }) => ({ [`${own}inner`]: page('<script>location = "/"</script>') }) },
  ),
  read('object and embed', async () => {
    const [one] = await element('object', { data: '/', type: 'text/html' });
    await element('embed', { src: '/' });
    return one.contentDocument?.documentElement.outerHTML;
  }),
  read('window.open', async () => {
    const opened = window.open('/');
    await late(800);
    return opened?.document.documentElement.outerHTML ?? 'no window';
  }),
  read('window.open without opener', () => String(window.open('/', '_blank', 'noopener'))),
  read('a popup that the victim clicks for', () => late(100), {
    html: () =>
      `<button id="go" onclick="window.opened = window.open('/', 'portal', 'popup,width=300,height=300')">x</button>`,
    act: async ({ page: tab }) => {
      await tab.click('#go');
      await tab.evaluate(() => {
        window.outcome = late(800).then(() => window.opened?.document.documentElement.outerHTML ?? 'no window');
      });
    },
  }),
  read('window.open of an empty window, then written to', async () => {
    const opened = window.open('');
    opened.document.write('<script>fetch("/").then((r) => r.text()).then((t) => opener.got = t)</script>');
    await late(500);
    return window.got;
  }),
  read('a link in a new tab, clicked', () => late(300), {
    html: () => '<a id="go" href="/" target="_blank" rel="opener">x</a>',
    act: ({ page: tab }) => tab.click('#go'),
  }),
  read(
    'the portal’s window, by its name',
    () => {
      const found = ['portal', 'deskgate', 'main', '_top', '_parent', '_opener'].map((name) => window.open('', name));
      const others = found.filter((one) => one && one !== window);
      return others.map((one) => one.document.documentElement.outerHTML).join() || 'none';
    },
    { portal: true, unconfined: 'varies' },
  ),
  read(
    'the opener and the parent',
    () => {
      const others = [window.opener, window.parent, window.top].filter((one) => one && one !== window);
      for (const one of others) one.postMessage('give me the token', '*');
      return others.map((one) => one.document.documentElement.outerHTML).join() || 'none';
    },
    { portal: true, unconfined: 'fails' },
  ),
  read(
    'BroadcastChannel to the portal’s page',
    async () => {
      const channels = ['deskgate', 'portal', 'session', 'csrf', 'auth'].map((name) => new BroadcastChannel(name));
      const heard = channels.map((channel) => message(channel));
      for (const channel of channels) channel.postMessage({ type: 'token?' });
      return (await Promise.all(heard)).map((answer) => JSON.stringify(answer));
    },
    { portal: true, unconfined: 'fails' },
  ),
  read('picture-in-picture window that the victim clicks for', () => late(100), {
    html: () => `<button id="go" onclick="window.pip = documentPictureInPicture.requestWindow()
      .then((one) => one.fetch('/')).then((answer) => answer.text())">x</button>`,
    act: async ({ page: tab }) => {
      await tab.click('#go');
      await tab.evaluate(() => (window.outcome = soon(window.pip)));
    },
  }),
  read(
    'a document made of the start page by XSLT',
    async () => {
      const sheet = `<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"><xsl:template match="/">
      <html><xsl:copy-of select="document('/')"/></html></xsl:template></xsl:stylesheet>`;
      const processor = new XSLTProcessor();
      processor.importStylesheet(new DOMParser().parseFromString(sheet, 'text/xml'));
      return processor.transformToDocument(new DOMParser().parseFromString('<a/>', 'text/xml')).documentElement
        .outerHTML;
    },
    { unconfined: 'fails' },
  ),
  read('a prefetched start page, fetched again', async () => {
    await element('link', { rel: 'prefetch', href: '/', as: 'document' }, document.head);
    return window.read('/', { cache: 'force-cache' });
  }),
  read(
    'the start page prerendered, unread',
    async () => {
      const rules = document.createElement('script');
      rules.type = 'speculationrules';
      rules.textContent = JSON.stringify({ prerender: [{ urls: ['/'], eagerness: 'immediate' }] });
      document.head.append(rules);
      await late(800);
      return performance
        .getEntriesByType('resource')
        .map(({ name }) => name)
        .join();
    },
    {
      expect: 'refused',
      why: 'the browser asks for the page ahead of a visit, whatever the policy says',
      look: ({ outcome }) => (/csrf/.test(outcome.value) ? ['it was read'] : []),
    },
  ),
  read(
    'the portal’s page in this tab, and back again',
    () => {
      location.href = '/';
      return late(500);
    },
    {
      expect: 'own tab',
      // The page that was left comes back without having seen anything.
      act: async ({ page: tab, facts }) => {
        await tab.waitForURL(`${facts.origin}/`, { waitUntil: 'load' });
        await tab.goBack({ waitUntil: 'commit' });
        // The page that came back leaves by itself again, perhaps before this is done.
        await tab.goForward({ waitUntil: 'commit' }).catch(() => {});
      },
    },
  ),
];
