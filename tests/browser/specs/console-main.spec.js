// @ts-check
// The main path through the console: from nothing to an account that is used, seen, and disconnected again.
import { enter, fillConnector, open, personKey } from '../support/console.js';
import { expect, look, signIn, test } from '../support/test.js';

// Before the server stops, which would fail what the page still asks for.
test.afterEach(({ page }) => page.close());

test('a connector is created, authorized, tested, used, seen and disconnected', async ({ page, stage }) => {
  test.setTimeout(180_000);
  const key = await personKey(stage.valetkey);
  await page.goto(`${stage.valetkey.base}/app`);
  await expect(page.getByRole('heading', { name: 'Sign in' })).toBeVisible();
  await look(page, 'console-sign-in');
  await enter(page, stage.valetkey, key);

  await expect(page.getByRole('heading', { name: 'No connectors yet' })).toBeVisible();
  await look(page, 'console-connectors-empty');
  await open(page, 'Connector types');
  await expect(page.getByRole('heading', { name: 'Notion' })).toBeVisible();
  await look(page, 'console-types');
  await page.getByRole('link', { name: 'Create connector: HTTP' }).click();
  await fillConnector(page, stage.provider);
  await look(page, 'console-connector-new');
  await page.getByRole('button', { name: 'Create connector' }).click();

  await expect(page.getByRole('heading', { level: 1, name: 'Notes of the team' })).toBeVisible();
  await expect(page.getByText(`${stage.valetkey.base}/api/actions/connector/_oauth_callback/account`)).toBeVisible();
  await page.getByRole('button', { name: 'Authorize' }).click();
  await signIn(page);
  await expect(page.getByText('Account connected', { exact: true })).toBeVisible();
  expect(new URL(page.url()).search).toBe('');
  expect(await stage.valetkey.standing('account', 'alice')).toBe('connected');

  await page.getByRole('button', { name: 'Test', exact: true }).click();
  await expect(page.getByText('The test went well')).toBeVisible();
  await look(page, 'console-connector');

  await page.getByRole('link', { name: 'Run an action' }).click();
  await page.getByLabel('Path').fill('/api/whoami');
  await page.getByRole('button', { name: 'Run' }).click();
  await expect(page.getByRole('region', { name: 'Answer', exact: true })).toContainText('"sub": "alice"');
  await expect(page.getByRole('region', { name: 'Request', exact: true })).toContainText('/api/actions/connector/account/_execute');
  await look(page, 'console-run');

  await page.getByRole('navigation', { name: 'Connector', exact: true }).getByRole('link', { name: 'Settings' }).click();
  await expect(page.getByLabel(/^Client secret/)).toHaveValue('');
  await expect(page.getByLabel('Client ID')).toHaveValue('valetkey-browser-tests');
  await look(page, 'console-connector-edit');
  await page.getByLabel('Name', { exact: true }).fill('Notes of everybody');
  await page.getByRole('button', { name: 'Save changes' }).click();
  await expect(page.getByRole('heading', { level: 1, name: 'Notes of everybody' })).toBeVisible();
  await open(page, 'Connectors');
  await look(page, 'console-connectors');
});

test('a connection is seen with its history, by its owner and by an administrator, and disconnected', async ({ page, stage }) => {
  test.setTimeout(180_000);
  await stage.connector();
  const flow = await stage.valetkey.startFlow('account', { user: 'alice', confirm: false });
  await page.goto(flow.authorizationUrl);
  await signIn(page);
  await expect(page.getByRole('heading', { name: 'Account connected' })).toBeVisible();
  await enter(page, stage.valetkey, await personKey(stage.valetkey));

  await open(page, 'My connections');
  await expect(page.getByRole('heading', { name: 'An account' })).toBeVisible();
  await look(page, 'console-mine');
  await open(page, 'Connections');
  await look(page, 'console-connections');
  await page.getByRole('table').getByRole('link').first().click();
  await expect(page.getByRole('heading', { name: 'History' })).toBeVisible();
  await expect(page.getByText('flow.complete')).toBeVisible();
  await look(page, 'console-connection');
  await page.getByRole('button', { name: 'Disconnect' }).click();
  await look(page, 'console-confirm');
  await page.getByRole('dialog').getByRole('button', { name: 'Disconnect' }).click();
  await expect(page.getByText('Disconnected', { exact: true })).toBeVisible();
  await expect(page.getByRole('heading', { name: 'No connections yet' })).toBeVisible();
  expect(await stage.valetkey.standing('account', 'alice')).toBe('not_connected');
});

test('keys are made, shown once and deleted', async ({ page, stage }) => {
  await enter(page, stage.valetkey, stage.valetkey.adminKey, '/app/keys');
  await look(page, 'console-keys');
  await page.getByRole('link', { name: 'New API key' }).click();
  await look(page, 'console-key-new');
  await page.getByLabel('Name', { exact: true }).fill('robot');
  await page.getByLabel(/connectors:read/).check();
  await page.getByRole('button', { name: 'Create' }).click();
  await expect(page.getByRole('heading', { name: 'Copy the key now' })).toBeVisible();
  const key = await page.locator('.copy code').textContent();
  expect(key).toMatch(/^vk_/);
  const answer = await fetch(`${stage.valetkey.base}/api/actions/connectors`, { headers: { authorization: `ApiKey ${key}` } });
  expect(answer.status).toBe(200);
  await page.getByRole('button', { name: 'I have stored it' }).click();
  await expect(page.getByText(/^vk_/)).toHaveCount(0);
  await page.getByRole('button', { name: 'Delete: robot' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await expect(page.getByText('Key deleted')).toBeVisible();
  await expect(page.getByText('robot', { exact: true })).toHaveCount(0);
});

test('the audit log is filtered by its address', async ({ page, stage }) => {
  await stage.connector();
  await enter(page, stage.valetkey, stage.valetkey.adminKey, '/app/audit');
  await expect(page.getByText('config.change')).toBeVisible();
  await look(page, 'console-audit');
  await page.getByLabel('Connector ID').fill('nothing');
  await page.getByRole('button', { name: 'Filter' }).click();
  await expect(page.getByRole('heading', { name: 'No events' })).toBeVisible();
  expect(new URL(page.url()).search).toBe('?connector=nothing');
  await page.goBack();
  await expect(page.getByText('config.change')).toBeVisible();
});

test('health has plots, which only its page loads', async ({ page, stage }) => {
  await stage.connector();
  const flow = await stage.valetkey.startFlow('account', { user: 'alice', confirm: false });
  await page.goto(flow.authorizationUrl);
  await signIn(page);
  await expect(page.getByRole('heading', { name: 'Account connected' })).toBeVisible();
  /** @type {string[]} */
  const loaded = [];
  page.on('request', (request) => loaded.push(request.url()));
  await enter(page, stage.valetkey, stage.valetkey.adminKey);
  expect(loaded.filter((url) => url.includes('uplot'))).toEqual([]);
  await open(page, 'Health');
  // Every process adds its counts every ten seconds.
  await expect(async () => {
    await page.getByRole('button', { name: 'Reload' }).click();
    await expect(page.getByRole('img', { name: /^Authorizations over time: 1 ok/ })).toBeVisible({ timeout: 1000 });
  }).toPass({ timeout: 30_000 });
  await expect(page.locator('canvas')).toHaveCount(3);
  expect(loaded.some((url) => url.endsWith('uplot.mjs'))).toBe(true);
  await look(page, 'console-health');
});
