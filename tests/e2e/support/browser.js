// Responsible for the browser: starting it, a person's window in it that records what goes wrong and which
// WebSockets are open, and the looks into a desktop's picture.

import { chromium } from 'playwright-core';

import { SESSION_COOKIE } from './http.js';
import { until } from './wait.js';

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
const ACTION_MS = 10_000;
const LOAD_MS = 20_000;
const NETWORK_CHANGED = 'net::ERR_NETWORK_CHANGED';
/** How often a page is loaded once more for that. */
const RELOADS = 5;
// Without these a page does not work; what its scripts fetch, they ask for again themselves.
const PARTS_OF_A_PAGE = new Set(['document', 'script', 'stylesheet']);
// So long a person looks at a broken page before they reload it.
const PATIENCE_MS = 3000;
// A picture in fewer colours is an empty canvas, or a desktop that has not drawn anything yet.
const COLOURS_OF_A_PICTURE = 24;

/**
 * The same way to load a page, gone once more each time Chromium breaks it off: containers that come and go change the
 * addresses of the machine.
 */
function despiteChanges(load) {
  return async (...how) => {
    for (let left = RELOADS; ; left -= 1) {
      try {
        return await load(...how);
      } catch (error) {
        if (left === 0 || !String(error).includes(NETWORK_CHANGED)) throw error;
      }
    }
  };
}

/** Starts Chromium with a profile that is deleted with it, and with `flags` beyond the usual ones. */
export function launch(flags = []) {
  const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
  return chromium.launch({ executablePath, args: [...FLAGS, ...flags], headless: true, timeout: LOAD_MS });
}

/** One person with a browser of their own: no cookie is shared with another. */
export class Person {
  /** What the browser reported, oldest first: `{kind, type, text, page, source}`. */
  reports = [];

  /** Since when a page lacks a part, because Chromium broke off its loading when an address of this machine changed. */
  broken = new Map();

  /** How often a page had to be reloaded for that. */
  reloads = 0;

  /** The WebSockets of all pages, oldest first: `{url, page, openedAt, closedAt, error}`. */
  sockets = [];

  static async arrive(browser, origin, options = {}) {
    const person = new Person();
    person.origin = origin;
    person.context = await browser.newContext({
      ignoreHTTPSErrors: true,
      locale: 'en-GB',
      viewport: { width: 1280, height: 800 },
      ...options,
    });
    person.context.setDefaultTimeout(ACTION_MS);
    person.context.setDefaultNavigationTimeout(LOAD_MS);
    person.context.on('page', (page) => person.#record(page));
    return person;
  }

  #record(page) {
    for (const load of ['goto', 'reload']) page[load] = despiteChanges(page[load].bind(page));
    page.on('console', (message) => {
      const source = message.location().url;
      this.reports.push({ kind: 'console', type: message.type(), text: message.text(), page: page.url(), source });
    });
    page.on('requestfailed', (failed) => {
      const part = PARTS_OF_A_PAGE.has(failed.resourceType());
      if (part && failed.failure()?.errorText === NETWORK_CHANGED) this.broken.set(page, performance.now());
    });
    page.on('pageerror', (error) => {
      this.reports.push({ kind: 'error', type: 'error', text: String(error.stack ?? error), page: page.url() });
    });
    page.on('framenavigated', (frame) => {
      if (frame !== page.mainFrame()) return;
      if (!frame.url().startsWith('chrome-error:')) this.broken.delete(page);
      // Chromium reports no end of the WebSockets that a page leaves behind when it goes to another address.
      for (const socket of this.sockets) {
        if (socket.page === page) socket.closedAt ??= performance.now();
      }
    });
    page.on('websocket', (socket) => {
      const seen = { url: socket.url(), page, openedAt: performance.now(), frames: 0 };
      this.sockets.push(seen);
      socket.on('framereceived', () => (seen.frames += 1));
      socket.on('socketerror', (error) => (seen.error = error));
      socket.on('close', () => (seen.closedAt ??= performance.now()));
    });
  }

  page() {
    return this.context.newPage();
  }

  /** Signs in by clicking, from the sign-in page to the start page, and returns the page. */
  async signIn(account, page = undefined) {
    page ??= await this.page();
    await page.goto(`${this.origin}/`);
    await page.getByTestId('sign-in').click();
    await page.getByTestId(`account-${account}`).click();
    await page.waitForURL(`${this.origin}/`);
    await page.getByTestId('sign-out').waitFor();
    return page;
  }

  /** Starts a desktop by clicking on the start page, and returns the tab that opens for it. */
  async start(page) {
    const opened = this.context.waitForEvent('page');
    await page.getByTestId('start').first().click();
    return opened;
  }

  /** Stops a desktop by clicking on the start page, and returns when it was clicked. */
  async stop(page) {
    await page.getByTestId('stop').first().click();
    const clicked = performance.now();
    await page.getByTestId('ask-yes').click();
    return clicked;
  }

  /**
   * Waits on a page that moves on by itself. Chromium breaks off every request when this machine's addresses change,
   * which a container that starts or stops here may do. A person reloads a page that stays broken, and so does this.
   */
  follow(page, what, question, within) {
    return until(
      what,
      async () => {
        const failed = page.url().startsWith('chrome-error:');
        if (failed || performance.now() - (this.broken.get(page) ?? Infinity) > PATIENCE_MS) {
          this.broken.delete(page);
          this.reloads += 1;
          await page.reload();
        }
        return question();
      },
      { within },
    );
  }

  /** Waits until the page shows a desktop's picture: an address with the way back, and something drawn. */
  followToPicture(page, within) {
    return this.follow(
      page,
      'the page becomes a desktop with a picture',
      async () => {
        if (!new URL(page.url()).searchParams.has('path')) return null;
        const seen = await picture(page);
        return seen && seen.colours >= COLOURS_OF_A_PICTURE && seen;
      },
      within,
    );
  }

  /** The secret of the session, as the browser holds it. */
  async secret() {
    const cookies = await this.context.cookies(this.origin);
    return cookies.find((cookie) => cookie.name === SESSION_COOKIE)?.value;
  }

  /** The page's desktop WebSocket that carries traffic now. */
  openSocket(page) {
    return this.sockets.findLast((socket) => socket.page === page && socket.frames > 0 && !socket.closedAt);
  }

  /** Problems of our own pages: violations of their policy, and errors that no script caught. */
  portalProblems() {
    const ofDesktop = ({ page, source }) => /\/desktop\//.test(page) || /\/desktop\//.test(source ?? '');
    return this.reports.filter((report) => {
      const violation = /content security policy/i.test(report.text);
      return (report.kind === 'error' || violation) && !ofDesktop(report);
    });
  }
}

/** How many different colours the desktop's picture has, and how large it is; null while there is none. */
export function picture(page) {
  return page.evaluate(() => {
    const canvas = document.querySelector('#noVNC_container canvas');
    if (!canvas || canvas.width < 300 || canvas.height < 200) return null;
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    const colours = new Set();
    for (let at = 0; at < data.length; at += 4 * 37) {
      colours.add((data[at] << 16) | (data[at + 1] << 8) | data[at + 2]);
    }
    return { width: canvas.width, height: canvas.height, colours: colours.size };
  });
}
