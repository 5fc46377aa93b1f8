// Responsible for the page of an attack: the script of the attack with what it may know, and the helpers that spare it
// repeating itself. Everything here runs in the victim's browser, inside the hostile desktop's page.

/** Runs in the page, before the attack. */
function helpers() {
  const late = (ms) => new Promise((resolve) => setTimeout(() => resolve(`nothing within ${ms} ms`), ms));
  const soon = (promise, ms = 1500) =>
    Promise.race([promise, late(ms)]).catch((error) => `${error?.name}: ${error?.message}`);
  const event = (target, ...names) =>
    Promise.race([
      late(1200),
      ...names.map((name) => new Promise((done) => target.addEventListener(name, () => done(name)))),
    ]);
  const element = async (tag, attributes = {}, parent = document.body) => {
    const made = document.createElement(tag);
    const heard = event(made, 'load', 'error');
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    parent.append(made);
    return [made, await heard];
  };
  const frame = async (attributes) => {
    const [made, heard] = await element('iframe', attributes);
    const text = () => made.contentDocument?.documentElement.outerHTML;
    return soon((async () => `${heard}: ${text()}`)());
  };
  const read = async (url, options) => {
    const response = await fetch(url, options);
    return `${response.status} ${response.type} ${await response.text()}`;
  };
  const socket = (url) => {
    const opened = new WebSocket(url);
    return new Promise((resolve) => {
      opened.onmessage = ({ data }) => resolve(data);
      opened.onerror = () => resolve('error');
      opened.onclose = () => resolve('close');
    });
  };
  const message = (target) =>
    soon(
      new Promise((resolve, reject) => {
        target.addEventListener('message', ({ data }) => resolve(data));
        target.addEventListener('error', (error) => reject(new Error(error.message ?? 'it did not start')));
      }),
    );
  // A script that asks for the list of desktops; `reply` is what it does with the text.
  const asking = (origin, reply) =>
    `fetch('${origin}/api/container/list').then((got) => got.text(), String).then((text) => ${reply});`;
  const blob = (text, type) => URL.createObjectURL(new Blob([text], { type }));
  Object.assign(window, { late, soon, event, element, frame, read, socket, message, blob, asking });
}

const safe = (value) => JSON.stringify(value).replaceAll('<', '\\u003c');
// The end of a script in a script's string would end the script.
const inScript = (code) => String(code).replaceAll('</script', '<\\/script');

/** The answer with an attack's page. */
export function attackPage({ attack = () => 'the page is the attack', html, headers = () => [] }, facts) {
  const body = `<!doctype html><meta charset="utf-8"><title>attack</title><body>
<script>(${helpers})();</script>
${html?.(facts) ?? ''}
<script>
  window.outcome = soon((async () => (${inScript(attack)})(${safe(facts)}))(), 3500).then((value) => ({ value: String(value) }));
</script>`;
  return { status: 200, headers: [['Content-Type', 'text/html'], ...headers(facts)], body };
}
