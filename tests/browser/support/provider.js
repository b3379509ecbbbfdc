// @ts-check
// `oidc-provider`, a certified authorization server that nobody here wrote, with a small API behind it.
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { Program } from './process.js';

const SERVER = fileURLToPath(new URL('../../../crates/valetkey/tests/oidc/server.mjs', import.meta.url));
const CLIENT_ID = 'valetkey-browser-tests';

export class Provider {
  /** @param {string[]} redirectUris @returns {Promise<Provider>} */
  static async start(redirectUris) {
    const provider = new Provider();
    provider.clientSecret = randomBytes(24).toString('base64url');
    const client = {
      client_id: CLIENT_ID,
      client_secret: provider.clientSecret,
      redirect_uris: redirectUris,
      grant_types: ['authorization_code', 'refresh_token'],
      scope: 'openid profile email read write',
    };
    const input = `${JSON.stringify({ main: { clients: [client] } })}\n`;
    provider.program = new Program(process.execPath, [SERVER], { input });
    const ready = await provider.program.said(/^READY (.+)$/m);
    provider.url = JSON.parse(ready[1]).main;
    return provider;
  }

  async stop() {
    await this.program?.stop();
  }

  /** Has headers added to all of its pages. @param {Record<string, string>} headers */
  async addHeaders(headers) {
    await fetch(`${this.url}/__t/headers`, { method: 'POST', body: JSON.stringify(headers) });
  }

  /** An `.http` connector for the provider's API. @param {Record<string, unknown>} [changes] */
  connector(changes = {}) {
    return {
      name: 'An account',
      connector_type_id: '.http',
      config: { baseUrl: this.url },
      secrets: {
        authType: 'oauth_authorization_code',
        authorizationUrl: `${this.url}/auth`,
        tokenUrl: `${this.url}/token`,
        revocationUrl: `${this.url}/token/revocation`,
        clientId: CLIENT_ID,
        clientSecret: this.clientSecret,
        scope: 'read write',
      },
      ...changes,
    };
  }

  /** What valetkey is told so that people sign in to it here. @returns {Record<string, string>} */
  identity() {
    return {
      OIDC__ISSUER: String(this.url),
      OIDC__CLIENT_ID: CLIENT_ID,
      OIDC__CLIENT_SECRET: String(this.clientSecret),
      OIDC__NAME: 'Example ID',
      OIDC__ADMIN_ROLES: 'vk-admin',
      OIDC__USER_ROLES: 'vk-user',
    };
  }

  /** Says what is known of people besides their login. @param {Record<string, Record<string, unknown>>} accounts */
  async setAccounts(accounts) {
    await fetch(`${this.url}/__t/accounts`, { method: 'POST', body: JSON.stringify(accounts) });
  }

  /** Has the next requests to a path fail. @param {Record<string, unknown>} fault */
  async fail(fault) {
    await fetch(`${this.url}/__t/fault`, { method: 'POST', body: JSON.stringify(fault) });
  }

  /** How often something happened: `grant authorization_code`. @param {string} what @returns {Promise<number>} */
  async count(what) {
    const stats = await (await fetch(`${this.url}/__t/stats`)).json();
    return stats[what] ?? 0;
  }

  /** The requests to a path so far. @param {string} path @returns {Promise<Array<{ method: string, query: Record<string, string> }>>} */
  async log(path) {
    const all = await (await fetch(`${this.url}/__t/log`)).json();
    return all.filter((/** @type {{ path: string }} */ request) => request.path === path);
  }
}

/**
 * Signs in on the provider's page and allows what is asked.
 * @param {import('@playwright/test').Page} page @param {string} [login]
 */
export async function signIn(page, login = 'alice') {
  await page.locator('input[name=login]').fill(login);
  await page.locator('input[name=password]').fill('any');
  await page.locator('button[type=submit]').click();
  await page.locator('input[name=prompt][value=consent]').waitFor({ state: 'attached' });
  await page.locator('button[type=submit]').click();
}

/** Says no on the provider's page. @param {import('@playwright/test').Page} page */
export async function deny(page) {
  await page.getByRole('link', { name: /cancel/i }).click();
}
