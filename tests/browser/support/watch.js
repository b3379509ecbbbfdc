// @ts-check
// Looks over a browser's shoulder: nothing may violate a policy, ask a stranger's host, or end in the console as an error.

/** @typedef {import('@playwright/test').BrowserContext} BrowserContext */

export class Watch {
  /** @type {string[]} */
  wrong = [];
  /** Origins that pages may ask. @type {Set<string>} */
  known = new Set();
  /** Origins whose own pages are not ours to judge: the provider's. @type {Set<string>} */
  foreign = new Set();
  /** Navigations: a refusal is a page with a status, which the browser also calls an error. @type {Set<string>} */
  navigated = new Set();
  /** @type {RegExp[]} */
  expected = [];

  /** @param {BrowserContext} context */
  async over(context) {
    await context.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', (event) => {
        console.error(`policy violated: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`);
      });
    });
    context.on('request', (request) => this.#request(request));
    context.on('console', (message) => {
      const at = message.location().url;
      if (message.type() !== 'error' || this.#isForeign(at) || this.#isForeign(message.page()?.url() ?? '')) return;
      if (message.text().startsWith('Failed to load resource: the server responded') && this.navigated.has(at)) return;
      this.#note(`console: ${message.text()} (${at})`);
    });
    context.on('weberror', (error) => {
      if (!this.#isForeign(error.page()?.url() ?? '')) this.#note(`error: ${error.error()}`);
    });
    context.on('dialog', (dialog) => {
      this.#note(`dialog: ${dialog.message()}`);
      dialog.dismiss().catch(() => {});
    });
    // The provider's development pages ask for a font from the internet; here nothing leaves the machine.
    await context.route((url) => !['127.0.0.1', 'localhost'].includes(url.hostname) && url.protocol.startsWith('http'), (route) =>
      route.abort(),
    );
  }

  /** Something that a test provokes. @param {RegExp} pattern */
  expect(pattern) {
    this.expected.push(pattern);
  }

  /** @param {import('@playwright/test').Request} request */
  #request(request) {
    const url = new URL(request.url());
    if (!url.protocol.startsWith('http')) return;
    if (request.isNavigationRequest()) this.navigated.add(request.url());
    const asker = request.headers().referer ?? '';
    if (!this.known.has(url.origin) && !this.foreign.has(url.origin) && !this.#isForeign(asker)) {
      this.#note(`a request to another host: ${request.url()}`);
    }
  }

  /** @param {string} url */
  #isForeign(url) {
    return URL.canParse(url) && this.foreign.has(new URL(url).origin);
  }

  /** @param {string} text */
  #note(text) {
    if (!this.expected.some((pattern) => pattern.test(text))) this.wrong.push(text);
  }
}
