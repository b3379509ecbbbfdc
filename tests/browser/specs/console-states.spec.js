// @ts-check
// Every state of a connection: the word for it, why it is so, what to do about it, and the button that does it.
import { enter, open, personKey } from '../support/console.js';
import { expect, look, signIn, test } from '../support/test.js';

// Before the server stops, which would fail what the page still asks for.
test.afterEach(({ page }) => page.close());

/** @typedef {import('@playwright/test').Page} Page */

const title = (/** @type {Page} */ page, /** @type {string} */ name) => page.getByRole('heading', { level: 1, name });
const DAY = 86_400_000;

/** A connector whose account is connected. */
async function connected(page, stage, { user = 'alice', changes = {} } = {}) {
  await stage.connector('account', changes);
  const flow = await stage.valetkey.startFlow('account', { user, confirm: false });
  await page.goto(flow.authorizationUrl);
  await signIn(page);
  await expect(title(page, 'Account connected')).toBeVisible();
}

/** The states: what is stored, the word, the sentence, and what comes next. */
const CAUSES = [
  { cause: 'token_expired', set: 'sealed_refresh = NULL, expires_at = 1', why: /gave no way to renew it/, next: /a scope such as offline_access/ },
  { cause: 'refresh_token_expired', set: "state = 'reauthorize', cause = 'refresh_token_expired'", why: /was not renewed in time/, next: /Connect the account again/ },
  { cause: 'token_revoked', set: "state = 'reauthorize', cause = 'token_revoked'", why: /no longer valid/, next: /ended on purpose/ },
  { cause: 'refresh_outcome_unknown', set: "state = 'reauthorize', cause = 'refresh_outcome_unknown'", why: /answer to a renewal was lost/, next: /Connect the account again/ },
  { cause: 'restored', set: "state = 'reauthorize', cause = 'restored'", why: /put back from a backup/, next: /Connect the account again/ },
  { cause: 'connector_changed', set: "binding = x'" + '00'.repeat(32) + "'", why: /settings of the connector were changed/, next: /take it back/ },
];

for (const { cause, set, why, next } of CAUSES) {
  test(`${cause}: is explained on each page, and mended from there`, async ({ page, stage }) => {
    await connected(page, stage);
    await stage.valetkey.rewrite(`UPDATE connection SET ${set}`);
    await enter(page, stage.valetkey, await personKey(stage.valetkey), '/app/mine');

    await expect(page.locator('.pill')).toHaveText('Connect again');
    await expect(page.locator('.note')).toContainText(why);
    await expect(page.locator('.note')).toContainText(next);
    if (cause === 'token_expired') await look(page, 'console-mine-reauthorize');

    await page.goto(`${stage.valetkey.base}/app/connectors/account`);
    await expect(page.locator('.note')).toContainText(why);
    await expect(page.getByRole('button', { name: 'Re-authorize' })).toBeVisible();
    if (cause === 'connector_changed') await look(page, 'console-connector-reauthorize');

    await page.goto(`${stage.valetkey.base}/app/connections`);
    await expect(page.getByRole('table').locator('.pill')).toHaveText('Connect again');
    await expect(page.getByRole('table')).toContainText(why);
    if (cause === 'token_revoked') await look(page, 'console-connections-reauthorize');

    await page.getByRole('table').getByRole('link').first().click();
    await expect(page.locator('.note')).toContainText(next);
    if (cause === 'restored') await look(page, 'console-connection-reauthorize');
    await page.getByRole('button', { name: /^Connect again/ }).click();
    // The provider remembers the person, and what was allowed.
    await expect(page.getByText('Account connected', { exact: true })).toBeVisible();
    await expect(page.locator('.pill').first()).toHaveText('Connected');
    expect(await stage.valetkey.standing('account', 'alice')).toBe('connected');
  });
}

test('an end that is near is announced, and connecting again puts it off', async ({ page, stage }) => {
  await connected(page, stage);
  const end = Date.now() + 2 * DAY;
  await stage.valetkey.rewrite(`UPDATE connection SET refresh_expires_at = ${end}, expires_at = ${end}, sealed_refresh = NULL, notice = 'expires:3:${end}'`);
  await enter(page, stage.valetkey, await personKey(stage.valetkey), '/app/mine');
  await expect(page.locator('.pill')).toHaveText('Ends soon');
  await expect(page.locator('.note')).toContainText('The provider ends this permission in 2 days');
  await look(page, 'console-mine-expiring');
  await open(page, 'Connections');
  await expect(page.getByRole('table').locator('.pill')).toHaveText('Ends soon');
  await look(page, 'console-connections-expiring');
  await page.getByRole('button', { name: /^Connect again/ }).click();
  await expect(page.getByText('Account connected', { exact: true })).toBeVisible();
  await expect(page.getByRole('table').locator('.pill')).toHaveText('Connected');
});

test.describe('where nobody uses an account', () => {
  test.use({ settings: /** @type {any} */ ({ CONNECTIONS__UNUSED_AFTER: '30d' }) });

  test('its end is announced, and one use keeps it', async ({ page, stage }) => {
    await connected(page, stage);
    const end = Date.now() + 2 * DAY;
    await stage.valetkey.rewrite(`UPDATE connection SET used_at = ${end - 30 * DAY}, connected_at = ${end - 40 * DAY}, notice = 'unused:${end}'`);
    await enter(page, stage.valetkey, await personKey(stage.valetkey), '/app/mine');
    await expect(page.locator('.pill')).toHaveText('Ends soon');
    await expect(page.locator('.note')).toContainText('Nobody uses this account; it is disconnected in 2 days');
    await look(page, 'console-mine-unused');
    await page.getByRole('button', { name: /^Use it once/ }).click();
    await expect(page.getByText('It was used, and is kept')).toBeVisible();
    // Uses are noted together, a moment later.
    await expect(async () => {
      await page.reload();
      await expect(page.locator('.pill')).toHaveText('Connected', { timeout: 1000 });
    }).toPass({ timeout: 30_000 });
  });
});

test('an administrator sees whose it is, cannot connect for them, and can end it', async ({ page, stage }) => {
  await connected(page, stage, { user: 'ben' });
  await stage.valetkey.rewrite("UPDATE connection SET state = 'reauthorize', cause = 'token_revoked'");
  await enter(page, stage.valetkey, await personKey(stage.valetkey), '/app/connections');
  await expect(page.getByRole('button', { name: /^Connect again/ })).toHaveCount(0);
  await page.getByRole('table').getByRole('link').first().click();
  await expect(page.locator('.note')).toContainText('Only ben can connect it again, under My connections.');
  await look(page, 'console-connection-of-another');
  await page.getByRole('button', { name: /^Disconnect/ }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Disconnect' }).click();
  await expect(page.getByText('Disconnected', { exact: true })).toBeVisible();
  expect(await stage.valetkey.standing('account', 'ben')).toBe('not_connected');
});

test('a shared account is authorized, authorized again and disconnected by an administrator; others only see it', async ({ page, stage }) => {
  await stage.connector('account', { auth_mode: 'shared' });
  await enter(page, stage.valetkey, stage.valetkey.adminKey, '/app/connectors/account');
  await expect(page.getByText('One account serves everybody who may use this connector.')).toBeVisible();
  await page.getByRole('button', { name: 'Authorize' }).click();
  await signIn(page, 'team');
  await expect(page.getByText('Account connected', { exact: true })).toBeVisible();
  await page.getByRole('button', { name: 'Dismiss' }).click();
  await page.getByRole('button', { name: 'Re-authorize' }).click();
  await expect(page.getByText('Account connected', { exact: true })).toBeVisible();
  await look(page, 'console-connector-shared');
  await open(page, 'Connections');
  await expect(page.getByRole('table')).toContainText('Everybody (shared)');

  const other = await page.context().browser()?.newContext();
  const user = await /** @type {any} */ (other).newPage();
  await enter(user, stage.valetkey, await personKey(stage.valetkey, { user: 'ben', privileges: ['oauth:connect', 'connectors:read'] }), '/app/connectors/account');
  await expect(user.getByText('Your privileges do not include connecting accounts.')).toBeVisible();
  await expect(user.getByRole('button', { name: /authorize|disconnect/i })).toHaveCount(0);
  await other?.close();

  await page.goto(`${stage.valetkey.base}/app/connectors/account`);
  await page.getByRole('button', { name: 'Disconnect' }).click();
  await expect(page.getByRole('dialog')).toContainText('for everybody who uses this connector');
  await page.getByRole('dialog').getByRole('button', { name: 'Disconnect' }).click();
  await expect(page.getByRole('button', { name: 'Authorize', exact: true })).toBeVisible();
  expect(await stage.valetkey.standing('account', 'ben')).toBe('not_connected');
});

test('somebody who may only connect sees what there is to connect, and connects it', async ({ page, stage }) => {
  await stage.connector();
  await stage.connector('other', { name: 'For all', auth_mode: 'shared' });
  await enter(page, stage.valetkey, await personKey(stage.valetkey, { user: 'ben', privileges: ['oauth:connect'] }), '/app');
  await expect(title(page, 'My connections')).toBeVisible();
  await expect(page.getByText('You can connect', { exact: true })).toBeVisible();
  await expect(page.getByText('For all')).toHaveCount(0);
  await look(page, 'console-mine-offers');
  await page.getByRole('button', { name: 'Connect: An account' }).click();
  await signIn(page, 'ben');
  await expect(page.getByText('Account connected', { exact: true })).toBeVisible();
  await expect(page.locator('.pill')).toHaveText('Connected');
  await page.getByRole('button', { name: 'Disconnect: An account' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Disconnect' }).click();
  await expect(page.getByRole('button', { name: 'Connect: An account' })).toBeVisible();
});
