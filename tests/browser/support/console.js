// @ts-check
// The console, as the specs of its pages use it.
import { expect } from '@playwright/test';

/** An API key of a person who may do everything, which the bootstrap key is not: it belongs to nobody. */
export async function personKey(valetkey, { user = 'alice', privileges = ['admin'] } = {}) {
  const made = await valetkey.api('/api/security/api_keys', { body: { name: `${user}'s key`, privileges, profileUid: user } });
  return made.key;
}

/** Opens the console and signs in. @param {import('@playwright/test').Page} page @param {any} valetkey @param {string} key */
export async function enter(page, valetkey, key, path = '/app') {
  await page.goto(valetkey.base + path);
  await signInAgain(page, key);
}

/** Signs in where the sign-in stands. @param {import('@playwright/test').Page} page @param {string} key */
export async function signInAgain(page, key) {
  await page.getByLabel('API key').fill(key);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await expect(page.getByRole('navigation', { name: 'Console' })).toBeAttached();
  await expect(page.locator('.sign-in')).toHaveCount(0);
}

/** Goes to an entry of the navigation. @param {import('@playwright/test').Page} page @param {string} name */
export async function open(page, name) {
  await page.getByRole('navigation', { name: 'Console' }).getByRole('link', { name, exact: true }).click();
  await expect(page.getByRole('heading', { level: 1, name })).toBeVisible();
}

/** Fills in the form of an `.http` connector at the provider. @param {import('@playwright/test').Page} page @param {any} provider */
export async function fillConnector(page, provider, id = 'account') {
  const { config, secrets } = provider.connector();
  await page.getByLabel('Name', { exact: true }).fill('Notes of the team');
  await page.getByLabel(/^ID/).fill(id);
  await page.getByLabel('Base URL').fill(config.baseUrl);
  await page.getByLabel('Method').selectOption('oauth_authorization_code');
  await page.getByLabel(/^Authorization URL/).fill(secrets.authorizationUrl);
  await page.getByLabel(/^Token URL/).fill(secrets.tokenUrl);
  await page.getByLabel('Client ID').fill(secrets.clientId);
  await page.getByLabel(/^Client secret/).fill(secrets.clientSecret);
  await page.getByLabel(/^Scope/).first().fill(secrets.scope);
  await page.getByText('More settings').click();
  await page.getByLabel(/^Revocation URL/).fill(secrets.revocationUrl);
}
