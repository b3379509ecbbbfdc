// A browser's page as far as the library needs one, with time that the test moves.
import { mock } from 'node:test';

/** @typedef {{ status?: number, body?: unknown }} Answer */

export function fakePage({ href = 'https://app.example.com/page?x=1', hasFocus = true, blocks = false } = {}) {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  const opened = [];
  const listeners = new Map();
  const page = {
    opened,
    hasFocus,
    assigned: [],
    replaced: [],
    closed: 0,
    session: new Map(),
    /** @param {string} type @param {unknown} event */
    dispatch: (type, event) => [...(listeners.get(type) ?? [])].forEach((listener) => listener(event)),
    listeners,
    end() {
      mock.timers.reset();
      for (const name of Object.keys(globals)) delete globalThis[name];
    },
  };
  const globals = {
    location: { href, assign: (url) => page.assigned.push(url) },
    document: { hasFocus: () => page.hasFocus },
    history: { state: { kept: true }, replaceState: (state, _title, url) => page.replaced.push([state, String(url)]) },
    sessionStorage: {
      getItem: (key) => page.session.get(key) ?? null,
      setItem: (key, value) => page.session.set(key, value),
      removeItem: (key) => page.session.delete(key),
    },
    open: (url, target) => {
      if (blocks) return null;
      const window = {
        url,
        target,
        opener: page,
        closed: false,
        close: () => {
          window.closed = true;
        },
        location: {
          replace: (there) => {
            window.url = there;
          },
        },
      };
      opened.push(window);
      return window;
    },
    close: () => {
      page.closed += 1;
    },
    addEventListener: (type, listener) => listeners.set(type, [...(listeners.get(type) ?? []), listener]),
    removeEventListener: (type, listener) => listeners.set(type, (listeners.get(type) ?? []).filter((l) => l !== listener)),
  };
  Object.assign(globalThis, globals);
  return page;
}

/** A server that answers by the end of the path, and remembers what it was asked. @param {Record<string, Answer | Array<Answer>>} answers */
export function fakeServer(answers) {
  const requests = [];
  const fetch = async (url, init) => {
    const name = url.slice(url.lastIndexOf('/') + 1);
    requests.push({ url, name, headers: init.headers, body: init.body && JSON.parse(init.body) });
    const planned = answers[name] ?? { status: 204 };
    const answer = Array.isArray(planned) ? (planned.length > 1 ? planned.shift() : planned[0]) : planned;
    if (!answer) throw new TypeError('no network');
    const { status = 200, body } = answer;
    return new Response(body === undefined ? null : JSON.stringify(body), { status });
  };
  return { fetch, requests, asked: (name) => requests.filter((request) => request.name === name) };
}

/** Lets everything happen that waits for nothing but its turn: promises, messages, and the hash of a state. */
export async function settle() {
  for (let round = 0; round < 3; round += 1) {
    for (let i = 0; i < 10; i += 1) await new Promise((resume) => setImmediate(resume));
    await crypto.subtle.digest('SHA-256', new Uint8Array());
  }
}
