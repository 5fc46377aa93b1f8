// The steps of a story that is told in order.

import { test } from 'node:test';

/**
 * Makes the `step` of one story: a test without which the following ones make no sense. When one fails, the rest of
 * the story is left out.
 */
export function story() {
  let failed;
  return function step(name, body) {
    test(name, async (t) => {
      if (failed) return t.skip(`because "${failed}" failed`);
      try {
        return await body(t);
      } catch (error) {
        failed ??= name;
        throw error;
      }
    });
  };
}
