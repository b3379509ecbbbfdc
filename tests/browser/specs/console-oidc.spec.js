// @ts-check
// Signing in to the console at an identity provider: `oidc-provider`, which nobody here wrote.
import { enter, open, personKey } from '../support/console.js';
import { deny, expect, look, signIn, test } from '../support/test.js';

test.use({ identity: {} });

// Before the server stops, which would fail what the pages still ask for.
test.afterEach(({ context }) => context.close());

/** @typedef {import('@playwright/test').Page} Page */

const title = (/** @type {Page} */ page, /** @type {string} */ name) => page.getByRole('heading', { level: 1, name });
const button = (/** @type {Page} */ page) => page.getByRole('link', { name: 'Continue with Example ID' });
const navigation = (/** @type {Page} */ page) => page.getByRole('navigation', { name: 'Console' }).getByRole('link');

test.beforeEach(({ stage }) => stage.provider.setAccounts({
  ada: { roles: ['vk-admin'], name: 'Ada Lovelace' },
  bob: { roles: ['vk-user'], email: 'bob@example.com', email_verified: true },
}));

test('an administrator goes on where they wanted to, and sees everything', async ({ page, stage }) => {
  await stage.connector();
  await page.goto(`${stage.valetkey.base}/app/connections?state=reauthorize`);
  await expect(title(page, 'Sign in')).toBeVisible();
  await look(page, 'console-oidc');
  await button(page).click();
  await signIn(page, 'ada');
  await expect(title(page, 'Connections')).toBeVisible();
  expect(new URL(page.url()).pathname + new URL(page.url()).search).toBe('/app/connections?state=reauthorize');
  await expect(page.locator('.account-name')).toContainText('Ada Lovelace');
  await expect(navigation(page)).toHaveText([/My connections/, /Connectors/, /Connector types/, /Connections/, /API keys/, /Audit log/, /Health/]);
});

test('a user sees what a user may, connects an account of their own, and signs out', async ({ page, stage }) => {
  await stage.connector();
  await page.goto(`${stage.valetkey.base}/app`);
  await button(page).click();
  await signIn(page, 'bob');
  await expect(title(page, 'Connectors')).toBeVisible();
  await expect(page.locator('.account-name')).toContainText('bob@example.com');
  await expect(navigation(page)).toHaveText([/My connections/, /Connectors/, /Connector types/]);
  await expect(page.getByRole('link', { name: 'New connector' })).toHaveCount(0);
  await open(page, 'My connections');
  await page.getByRole('button', { name: 'Connect: An account' }).click();
  // The provider knows the person already, and asks for the other permissions.
  await page.locator('button[type=submit]').click();
  await expect(page.getByText('Account connected', { exact: true })).toBeVisible();
  await page.locator('.account summary').click();
  await page.getByRole('button', { name: 'Sign out', exact: true }).click();
  await expect(page.getByText('You are signed out.')).toBeVisible();
});

test('whoever has no role is told so, and can sign in as somebody else', async ({ page, stage }) => {
  await page.goto(`${stage.valetkey.base}/app/connections`);
  await button(page).click();
  await signIn(page, 'eve');
  await expect(page.getByRole('alert')).toHaveText('Your account may not use this service. Ask your administrator for access.');
  await look(page, 'console-oidc-no-role');
  await page.getByLabel('API key').fill(await personKey(stage.valetkey));
  await page.getByRole('button', { name: 'Sign in' }).click();
  // Where they wanted to go before it failed.
  await expect(title(page, 'Connections')).toBeVisible();
});

test('a sign-in that is cancelled at the provider says so', async ({ page, stage }) => {
  await page.goto(`${stage.valetkey.base}/app`);
  await button(page).click();
  await deny(page);
  await expect(page.getByRole('alert')).toHaveText('The identity provider did not let you in.');
});

test('a provider that fails is named as the reason', async ({ page, stage }) => {
  await stage.provider.fail({ path: '/token', times: 5, status: 503 });
  await page.goto(`${stage.valetkey.base}/app`);
  await button(page).click();
  await signIn(page, 'ada');
  await expect(page.getByRole('alert')).toHaveText('Your identity provider does not answer. Try again in a while.');
  await look(page, 'console-oidc-away');
});

test('a sign-in that another browser began is refused', async ({ page, stage }) => {
  await page.goto(`${stage.valetkey.base}/api/session/oidc/callback?state=made-up&code=made-up`);
  await expect(page.getByRole('alert')).toHaveText('This sign-in was begun in another browser, or took too long. Start again.');
});

test('a session that ended is followed by another at the provider, at the same place', async ({ page, stage, context }) => {
  await stage.connector();
  await page.goto(`${stage.valetkey.base}/app/connectors/account/edit`);
  await button(page).click();
  await signIn(page, 'ada');
  await page.getByLabel('Name', { exact: true }).fill('Typed');
  // As it is when the session was ended elsewhere: the browser's cookie is worth nothing.
  await context.clearCookies({ name: 'valetkey-session' });
  const second = await context.newPage();
  await second.goto(`${stage.valetkey.base}/app`);
  await expect(title(second, 'Sign in')).toBeVisible();
  await page.bringToFront();
  await page.evaluate(() => dispatchEvent(new Event('focus')));
  await expect(page.getByText('if you sign in with an API key')).toBeVisible();
  await look(page, 'console-oidc-kept');
  await button(page).click();
  await expect(page.getByLabel('Name', { exact: true })).toHaveValue('An account');
  await expect(second.locator('.account-name')).toContainText('Ada Lovelace');
});

test.describe('with spaces', () => {
  test.use({ identity: { OIDC__USER_SPACES: 'team-a,team-b' } });

  test('a person goes to a space of theirs, and from one to the other', async ({ page, stage }) => {
    for (const space of ['team-a', 'team-b']) {
      await stage.valetkey.api(`/s/${space}/api/actions/connector/here`, {
        body: { name: `Of ${space}`, connector_type_id: '.http', config: { baseUrl: 'https://api.example.com' }, secrets: { authType: 'none' } },
      });
    }
    await page.goto(`${stage.valetkey.base}/s/team-b/app/connectors`);
    await button(page).click();
    await signIn(page, 'bob');
    await expect(page.getByText('Of team-b')).toBeVisible();
    expect(new URL(page.url()).pathname).toBe('/s/team-b/app/connectors');
    await look(page, 'console-spaces');
    await page.getByLabel('Space').selectOption('team-a');
    await expect(page.getByText('Of team-a')).toBeVisible();
    expect(new URL(page.url()).pathname).toBe('/s/team-a/app/connectors');
    // The front door is that of a space which is not theirs.
    await page.goto(`${stage.valetkey.base}/app`);
    await expect(page.getByText('Of team-a')).toBeVisible();
    expect(new URL(page.url()).pathname).toBe('/s/team-a/app/connectors');
    await page.waitForLoadState('networkidle');
  });
});

test('a person of one space goes there, and is told which it is', async ({ page, stage }) => {
  const made = await stage.valetkey.api('/api/security/api_keys', { body: { name: 'robot', privileges: ['connectors:read'], spaces: ['team-a'] } });
  await enter(page, stage.valetkey, made.key, '/app');
  await expect(page).toHaveURL(`${stage.valetkey.base}/s/team-a/app/connectors`);
  await expect(title(page, 'Connectors')).toBeVisible();
  await expect(page.locator('.space')).toHaveText('Space team-a');
  await page.waitForLoadState('networkidle');
});

test('signed in with a key, the button is no trap: the other person takes over', async ({ page, stage }) => {
  await enter(page, stage.valetkey, await personKey(stage.valetkey), '/app/mine');
  await page.goto(`${stage.valetkey.base}/api/session/oidc/start?to=/app/mine`);
  await signIn(page, 'bob');
  await expect(page.locator('.account-name')).toContainText('bob@example.com');
});
