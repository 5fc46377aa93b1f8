// Responsible for how a page of ours looks and reads: pictures of it in every size, by day and by night and in both
// languages; nothing may stick out sideways, and axe-core may find nothing serious.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';

import { artifacts } from './gateway.js';

const LANGUAGE_COOKIE = '__Host-language';
const SIZES = [[390, 844], [820, 1180], [1440, 900]];
const SCHEMES = ['light', 'dark'];
const GRAVE = new Set(['serious', 'critical']);

const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Has a person's browser keep a language, as the link at the foot of each page does. */
export function speak(person, lang) {
  const { hostname } = new URL(person.origin);
  const cookie = { name: LANGUAGE_COOKIE, value: lang, domain: hostname, path: '/', secure: true, sameSite: 'Lax' };
  return person.context.addCookies([cookie]);
}

/** What axe-core finds that keeps people out, one line each; in `parts` only, if they are named by selectors. */
export async function barriers(page, parts) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(
    (include) => window.axe.run(include ? { include } : document, { resultTypes: ['violations'] }),
    parts,
  );
  return violations
    .filter(({ impact }) => GRAVE.has(impact))
    .flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id} at ${target}: ${failureSummary}`));
}

/**
 * Looks at a page in all its shapes; `name` names the pictures. The page is loaded again for each language. On a long
 * page of parts that are alike, `parts` are those that axe-core looks at each time.
 */
export async function looks(person, page, name, parts) {
  for (const lang of ['de', 'en']) {
    await speak(person, lang);
    await page.reload();
    assert.equal(await page.locator('html').getAttribute('lang'), lang);
    for (const [width, height] of SIZES) {
      await page.setViewportSize({ width, height });
      const excess = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      assert.ok(excess <= 0, `${name} in ${lang} is ${excess} px too wide for a window of ${width} px`);
      for (const colorScheme of SCHEMES) {
        await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
        const file = path.join(await artifacts(), `${name}-${lang}-${width}-${colorScheme}.png`);
        await page.screenshot({ path: file, animations: 'disabled' });
        assert.deepEqual(await barriers(page, parts), [], `${name} in ${lang}, ${width} px, ${colorScheme}`);
      }
    }
  }
  await page.emulateMedia({ colorScheme: null, reducedMotion: null });
}
