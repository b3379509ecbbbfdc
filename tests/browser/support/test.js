// @ts-check
// The fixtures. A test that takes `stage` has a valetkey with a fresh data directory and an authorization server of its own;
// every page that it opens is watched, and what is wrong in one of them fails the test.
import { test as base, expect } from '@playwright/test';
import { App } from './app.js';
import { freePort } from './process.js';
import { Provider } from './provider.js';
import { Valetkey } from './valetkey.js';
import { Watch } from './watch.js';

export { expect };
export { look } from './look.js';
export { deny, signIn } from './provider.js';

/**
 * @typedef {object} Stage
 * @property {Valetkey} valetkey
 * @property {Provider} provider it knows the redirect URIs of connectors `account` and `other`
 * @property {(id?: string, changes?: Record<string, unknown>) => Promise<void>} connector creates one at the provider
 */

/** @typedef {{ settings: Record<string, string>, identity: Record<string, string> | null, host: string, watch: Watch, appPort: number, stage: Stage, app: App }} Fixtures */

export const test = base.extend(
  /** @type {import('@playwright/test').Fixtures<Fixtures, {}, import('@playwright/test').PlaywrightTestArgs & import('@playwright/test').PlaywrightTestOptions>} */ ({
    // `test.use({ settings: { ALLOWED_RETURN_ORIGINS: '…' } })`
    settings: [{}, { option: true }],

    // `test.use({ identity: {} })`: the authorization server is also where people sign in; more settings of that.
    identity: [/** @type {any} */ (null), { option: true }],

    // Under which name browsers reach valetkey. `localhost` is another site than the provider's `127.0.0.1`.
    host: ['127.0.0.1', { option: true }],

    watch: [
      async ({}, use) => {
        const watch = new Watch();
        await use(watch);
        expect(watch.wrong, 'no violated policy, no stranger, no error in any page').toEqual([]);
      },
      { auto: true },
    ],

    context: async ({ context, watch }, use) => {
      await watch.over(context);
      await use(context);
    },

    appPort: async ({ watch: _watch }, use) => use(await freePort()),

    stage: async ({ settings: changes, identity, host, watch, appPort }, use) => {
      const settings = { ALLOWED_RETURN_ORIGINS: App.origin(appPort), ...changes };
      const port = await freePort();
      const callback = `http://${host}:${port}/api/actions/connector/_oauth_callback`;
      const starting = Provider.start([`${callback}/account`, `${callback}/other`, `http://${host}:${port}/api/session/oidc/callback`]);
      const more = async () => (identity ? { ...(await starting).identity(), ...identity } : {});
      const [provider, valetkey] = await Promise.all([
        starting,
        more().then((oidc) => Valetkey.start({ port, host, settings: { ...settings, ...oidc } })),
      ]);
      watch.known.add(valetkey.base);
      watch.foreign.add(/** @type {string} */ (provider.url));
      await use({
        valetkey,
        provider,
        connector: async (id = 'account', changes = {}) => {
          await valetkey.createConnector(id, provider.connector(changes));
        },
      });
      await Promise.all([valetkey.stop(), provider.stop()]);
    },

    // The library's example: an application on another site, with the connector `account`.
    app: async ({ stage, appPort, watch }, use) => {
      await stage.connector();
      const app = await App.start(appPort, stage.valetkey, 'account');
      watch.known.add(app.base);
      await use(app);
      await app.stop();
    },
  }),
);

/**
 * Another person's browser, watched as well.
 * @param {import('@playwright/test').Browser} browser @param {Watch} watch
 */
export async function anotherBrowser(browser, watch) {
  const context = await browser.newContext();
  await watch.over(context);
  return context;
}
