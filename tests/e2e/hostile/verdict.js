// Responsible for what counts as a blocked attack: which traces each kind of expectation tolerates.

/** What an attack may be expected to come to, and the traces that are part of that. */
const EXPECTATIONS = {
  /** Nothing happened outside the hostile desktop. */
  blocked: [],
  /**
   * The tab went elsewhere, as any page's tab may: one visit by GET, seen by nobody but the victim. No policy forbids
   * that; what must hold is that nothing came back to the desktop and nothing changed.
   */
  'own tab': [
    /^the tab shows /,
    /^GET \S+ was answered/,
    /^the attacker's server got: (tcp connection|GET \S+)$/,
    /^the victim’s other desktop got GET \S+$/,
  ],
  /** The browser asks the gateway by itself, which serves nothing ahead of a visit. At least that must be seen. */
  refused: [/^GET \S+ was answered 503$/],
  /** The session is lost, and the victim signs in again as if nothing had been. */
  heals: [/^the session cookie is not what it was$/, /^the start page does not know the victim$/],
};

/** The traces that an attack must not leave. For a weakness that is known, none is missing but all of them. */
export function faults(attack, trespasses) {
  const { expect = 'blocked', tolerates, name } = attack;
  if (expect === 'open') {
    return trespasses.length
      ? []
      : [`"${name}" is listed as open, but is blocked: say so in its table and in SECURITY.md`];
  }
  if (expect === 'refused' && trespasses.length === 0) return ['nothing was asked ahead of a visit'];
  const tolerated = tolerates ? [...EXPECTATIONS[expect], tolerates] : EXPECTATIONS[expect];
  return trespasses.filter((trace) => !tolerated.some((pattern) => pattern.test(trace)));
}

/** Whether an attack is tried without confinement too: only where it is expected to be confined. */
export function hasControl({ expect = 'blocked' }) {
  return expect === 'blocked';
}

/** What is wrong with the control group: an attack that never succeeds proves nothing, unless that is known. */
export function controlFaults({ unconfined = 'succeeds', tolerates }, trespasses) {
  const traces = trespasses.filter((trace) => !tolerates?.test(trace));
  if (unconfined === 'succeeds' && traces.length === 0) return ['even without confinement nothing happens'];
  return unconfined === 'fails' ? traces : [];
}
