// @ts-check
// Sessions that end while the console is open, and what other tabs see of that.
import { enter, open, personKey, signInAgain } from '../support/console.js';
import { anotherBrowser, expect, look, signIn, test } from '../support/test.js';

// Before the server stops, which would fail what the pages still ask for.
test.afterEach(({ context }) => context.close());

/** @typedef {import('@playwright/test').Page} Page */

const signInPage = (/** @type {Page} */ page) => page.getByRole('heading', { name: 'Sign in', exact: true });
const title = (/** @type {Page} */ page, /** @type {string} */ name) => page.getByRole('heading', { level: 1, name });

/** Signs the person out of every browser, from another one. */
async function signOutEverywhere(browser, watch, valetkey, key) {
  const other = await anotherBrowser(browser, watch);
  const page = await other.newPage();
  await enter(page, valetkey, key);
  await page.locator('.account summary').click();
  await page.getByRole('button', { name: 'Sign out everywhere' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Sign out' }).click();
  await expect(page.getByText('You are signed out.')).toBeVisible();
  await other.close();
}

/** What counts as changes that this page sent. @param {Page} page @param {RegExp} path */
function sent(page, path) {
  /** @type {string[]} */
  const all = [];
  page.on('request', (request) => {
    if (request.method() !== 'GET' && path.test(request.url())) all.push(`${request.method()} ${new URL(request.url()).pathname}`);
  });
  return all;
}

test.describe('a session that ends', () => {
  test('elsewhere: the next step asks to sign in, says why, and goes on at the same place', async ({ browser, page, stage, watch }) => {
    await stage.connector();
    const key = await personKey(stage.valetkey);
    await enter(page, stage.valetkey, key, '/app/connections?state=active');
    await signOutEverywhere(browser, watch, stage.valetkey, key);
    watch.expect(/status of 401/);
    await page.getByLabel('State').selectOption('reauthorize');
    await expect(signInPage(page)).toBeVisible();
    await expect(page.getByRole('status')).toContainText('Your session has ended. Sign in again');
    await expect(page.getByRole('navigation', { name: 'Console' })).toHaveCount(0);
    await look(page, 'console-session-ended');
    await signInAgain(page, key);
    await expect(title(page, 'Connections')).toBeVisible();
    expect(new URL(page.url()).search).toBe('?state=reauthorize');
  });

  test('while a form is filled in: nothing is sent by itself, and nothing that was typed is lost', async ({ browser, page, stage, watch }) => {
    await stage.connector();
    const key = await personKey(stage.valetkey);
    await enter(page, stage.valetkey, key, '/app/connectors/account/edit');
    await page.getByLabel('Name', { exact: true }).fill('Renamed');
    await signOutEverywhere(browser, watch, stage.valetkey, key);
    watch.expect(/status of 401/);
    const changes = sent(page, /\/api\/actions\//);
    await page.getByRole('button', { name: 'Save changes' }).click();
    await expect(signInPage(page)).toBeVisible();
    await expect(page.getByText('What you typed is still there when you are back.')).toBeVisible();
    await expect(page.getByLabel('Name', { exact: true })).toBeHidden();
    await look(page, 'console-session-ended-form');
    await signInAgain(page, key);
    await expect(page.getByLabel('Name', { exact: true })).toHaveValue('Renamed');
    await expect(page.getByRole('alert')).toContainText('Your session had ended, so this was not done.');
    await look(page, 'console-session-back-in-form');
    expect(changes).toEqual([]);
    expect((await stage.valetkey.api('/api/actions/connector/account')).name).toBe('An account');
    await page.getByRole('button', { name: 'Save changes' }).click();
    await expect(title(page, 'Renamed')).toBeVisible();
  });

  test('before a new key was stored: it is still there, for it is shown once', async ({ browser, page, stage, watch }) => {
    const key = stage.valetkey.adminKey;
    await enter(page, stage.valetkey, key, '/app/keys/new');
    await page.getByLabel('Name', { exact: true }).fill('robot');
    await page.getByLabel(/connectors:read/).check();
    await page.getByRole('button', { name: 'Create' }).click();
    const made = await page.locator('.copy code').textContent();
    await signOutEverywhere(browser, watch, stage.valetkey, key);
    await page.evaluate(() => dispatchEvent(new Event('focus')));
    await expect(signInPage(page)).toBeVisible();
    await page.locator('#key').fill(key);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await expect(page.locator('.copy code')).toHaveText(String(made));
    await expect(page.locator('.copy code')).toBeVisible();
  });

  test('whoever signs in instead sees nothing that the person before had typed', async ({ browser, page, stage, watch }) => {
    await stage.connector();
    const key = await personKey(stage.valetkey);
    await enter(page, stage.valetkey, key, '/app/connectors/account/edit');
    await page.getByLabel('Name', { exact: true }).fill('Between us');
    await signOutEverywhere(browser, watch, stage.valetkey, key);
    watch.expect(/status of 401/);
    await page.getByRole('button', { name: 'Save changes' }).click();
    await signInAgain(page, await personKey(stage.valetkey, { user: 'ben' }));
    await expect(page.getByLabel('Name', { exact: true })).toHaveValue('An account');
    await expect(page.getByRole('alert')).toHaveCount(0);
  });

  test('at the provider: its page says what to do, and leads back to where it began', async ({ browser, page, stage, watch }) => {
    await stage.connector();
    const key = await personKey(stage.valetkey);
    await enter(page, stage.valetkey, key, '/app/mine');
    await page.getByRole('button', { name: 'Connect: An account' }).click();
    await expect(page.locator('input[name=login]')).toBeVisible();
    await signOutEverywhere(browser, watch, stage.valetkey, key);
    await signIn(page);
    await expect(title(page, 'You are not signed in')).toBeVisible();
    await look(page, 'connect-session-ended');
    await page.getByRole('link', { name: 'Go to the console' }).click();
    await expect(signInPage(page)).toBeVisible();
    await expect(page.getByRole('status')).toContainText('Your session ended while you were at the provider');
    await look(page, 'console-session-ended-away');
    await signInAgain(page, key);
    await expect(title(page, 'My connections')).toBeVisible();
    expect(await stage.valetkey.standing('account', 'alice')).toBe('not_connected');
    await page.getByRole('button', { name: 'Connect: An account' }).click();
    // The provider remembers the person, and what was allowed.
    await expect(page.getByText('Account connected', { exact: true })).toBeVisible();
  });

  test('without a step: the sign-in stands in place of what the page showed', async ({ page, stage }) => {
    await page.clock.install();
    const made = await stage.valetkey.api('/api/security/api_keys', { body: { name: 'robot', privileges: ['connectors:read'] } });
    await stage.connector();
    await enter(page, stage.valetkey, made.key, '/app/connectors');
    await expect(page.getByText('An account')).toBeVisible();
    await stage.valetkey.api(`/api/security/api_keys/${made.id}`, { method: 'DELETE' });
    await page.clock.fastForward('30:02');
    await expect(page.getByRole('status')).toContainText('Your session has ended');
    await expect(page.getByText('An account')).toHaveCount(0);
  });
});

test.describe('two tabs', () => {
  /** Two tabs of one browser, both signed in. */
  async function twoTabs(context, page, valetkey, key, path) {
    await enter(page, valetkey, key, path);
    const second = await context.newPage();
    await second.goto(valetkey.base + path);
    await expect(second.getByRole('navigation', { name: 'Console' })).toBeAttached();
    return second;
  }

  test('signing out in one shows the sign-in in the other, and signing in goes on in both', async ({ context, page, stage }) => {
    await stage.connector();
    const key = await personKey(stage.valetkey);
    const second = await twoTabs(context, page, stage.valetkey, key, '/app/connectors');
    await second.goto(`${stage.valetkey.base}/app/connectors/account/edit`);
    await second.getByLabel('Name', { exact: true }).fill('Half of a name');
    await page.locator('.account summary').click();
    await page.getByRole('button', { name: 'Sign out', exact: true }).click();
    await expect(page.getByText('You are signed out.')).toBeVisible();
    await expect(second.getByRole('status').filter({ hasText: 'You signed out in another tab.' })).toBeVisible();
    await expect(second.getByLabel('Name', { exact: true })).toHaveCount(0);
    await look(second, 'console-signed-out-elsewhere');
    await signInAgain(page, key);
    await expect(title(page, 'Connectors')).toBeVisible();
    await expect(second.getByLabel('Name', { exact: true })).toHaveValue('An account');
  });

  test('another person who signs in in one is who the other shows', async ({ context, page, stage }) => {
    await stage.connector();
    const second = await twoTabs(context, page, stage.valetkey, await personKey(stage.valetkey), '/app/mine');
    await page.locator('.account summary').click();
    await page.getByRole('button', { name: 'Sign out', exact: true }).click();
    await signInAgain(page, await personKey(stage.valetkey, { user: 'ben', privileges: ['oauth:connect'] }));
    await expect(second.locator('.account-name')).toContainText('ben');
    await expect(second.getByRole('navigation', { name: 'Console' }).getByRole('link')).toHaveText([/My connections/]);
  });

  test('what is disconnected in one is gone in the other when it is loaded again', async ({ context, page, stage }) => {
    await stage.connector();
    const flow = await stage.valetkey.startFlow('account', { user: 'alice', confirm: false });
    await page.goto(flow.authorizationUrl);
    await signIn(page);
    await expect(title(page, 'Account connected')).toBeVisible();
    const second = await twoTabs(context, page, stage.valetkey, await personKey(stage.valetkey), '/app/mine');
    await page.getByRole('button', { name: 'Disconnect: An account' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Disconnect' }).click();
    await expect(page.getByRole('button', { name: 'Connect: An account' })).toBeVisible();
    // Ending what has ended is no error.
    await second.getByRole('button', { name: 'Disconnect: An account' }).click();
    await second.getByRole('dialog').getByRole('button', { name: 'Disconnect' }).click();
    await expect(second.getByRole('button', { name: 'Connect: An account' })).toBeVisible();
    await second.reload();
    await expect(second.getByRole('button', { name: 'Connect: An account' })).toBeVisible();
  });

  test('a connector that was changed in one is not changed back by the other unasked', async ({ context, page, stage }) => {
    await stage.connector();
    const second = await twoTabs(context, page, stage.valetkey, await personKey(stage.valetkey), '/app/connectors/account/edit');
    await page.getByLabel('Name', { exact: true }).fill('First');
    await page.getByRole('button', { name: 'Save changes' }).click();
    await expect(title(page, 'First')).toBeVisible();
    await second.getByLabel('Name', { exact: true }).fill('Second');
    await second.getByRole('button', { name: 'Save changes' }).click();
    await expect(second.getByRole('alert')).toContainText('Somebody changed this connector since you opened it');
    await look(second, 'console-changed-meanwhile');
    expect((await stage.valetkey.api('/api/actions/connector/account')).name).toBe('First');
    await second.getByRole('button', { name: 'Save mine all the same' }).click();
    await expect(title(second, 'Second')).toBeVisible();
    expect((await stage.valetkey.api('/api/actions/connector/account')).name).toBe('Second');
  });
});
