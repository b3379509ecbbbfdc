// @ts-check
// The pages of a flow, in a real browser at a real authorization server.
import { createHash } from 'node:crypto';
import { anotherBrowser, deny, expect, look, signIn, test } from '../support/test.js';

test.beforeEach(({ stage }) => stage.connector());

test('an account is connected', async ({ page, stage }) => {
  const flow = await stage.valetkey.startFlow('account', { user: 'u1' });
  await page.goto(flow.authorizationUrl);
  await expect(page.getByRole('heading', { name: 'An account' })).toBeVisible();
  await look(page, 'connect');
  await page.getByRole('link', { name: 'Continue' }).click();
  await signIn(page);
  await expect(page.getByRole('heading', { name: 'Account connected' })).toBeVisible();
  await look(page, 'connected');
  expect(await stage.valetkey.standing('account', 'u1')).toBe('connected');
});

test('the person says no', async ({ page, stage }) => {
  const flow = await stage.valetkey.startFlow('account', { user: 'u1' });
  await page.goto(flow.authorizationUrl);
  await page.getByRole('link', { name: 'Continue' }).click();
  await deny(page);
  await expect(page.getByRole('heading', { name: 'Access was not granted' })).toBeVisible();
  await look(page, 'denied');
  expect(await stage.valetkey.standing('account', 'u1')).toBe('not_connected');
});

test('a14 a link that was opened is of no use to another browser', async ({ browser, page, stage, watch }) => {
  const flow = await stage.valetkey.startFlow('account', { user: 'u1' });
  await page.goto(flow.authorizationUrl);
  const other = await anotherBrowser(browser, watch);
  const second = await other.newPage();
  await second.goto(flow.authorizationUrl);
  await expect(second.getByRole('heading', { name: 'Another browser' })).toBeVisible();
  await look(second, 'another-browser');
  await other.close();
});

test('a callback that comes twice is finished once', async ({ page, stage }) => {
  const flow = await stage.valetkey.startFlow('account', { user: 'u1' });
  await page.goto(flow.authorizationUrl);
  await page.getByRole('link', { name: 'Continue' }).click();
  await signIn(page);
  await expect(page.getByRole('heading', { name: 'Account connected' })).toBeVisible();
  await page.reload();
  await expect(page.getByRole('heading', { name: 'Already finished' })).toBeVisible();
  await look(page, 'already-finished');
  expect(await stage.provider.count('grant authorization_code')).toBe(1);
  expect(await stage.valetkey.standing('account', 'u1')).toBe('connected');
});

test('f09 pages of the same origin hear which flow ended, and nothing that is worth anything', async ({ page, context, stage }) => {
  const listener = await context.newPage();
  await listener.goto(`${stage.valetkey.base}/connect/nothing`);
  await expect(listener.getByRole('heading', { level: 1 })).toBeVisible();
  const heard = await listener.evaluateHandle(() => {
    const messages = /** @type {unknown[]} */ ([]);
    new BroadcastChannel('oauth_flow_completed').onmessage = ({ data }) => messages.push(data);
    return messages;
  });
  const flow = await stage.valetkey.startFlow('account', { user: 'u1' });
  await page.goto(flow.authorizationUrl);
  await page.getByRole('link', { name: 'Continue' }).click();
  await signIn(page);
  await expect(page.getByRole('heading', { name: 'Account connected' })).toBeVisible();
  const fingerprint = createHash('sha256').update(flow.state).digest().subarray(0, 16).toString('base64url');
  await expect
    .poll(() => heard.jsonValue())
    .toEqual([{ connectorId: 'account', flow: fingerprint, status: 'success', statusCode: 200 }]);
});

test('f10 the callback page lets go of the page that opened it, and closes', async ({ page, stage }) => {
  const flow = await stage.valetkey.startFlow('account', { user: 'u1', confirm: false });
  await page.goto(`${stage.valetkey.base}/connect/nothing`);
  const opened = page.waitForEvent('popup');
  // A page that opens windows its own way.
  await page.evaluate((url) => void window.open(url), flow.authorizationUrl);
  const popup = await opened;
  await signIn(popup);
  await expect(popup.getByText('This window closes in')).toBeVisible();
  expect(await popup.evaluate(() => window.opener)).toBe(null);
  if (!popup.isClosed()) await popup.waitForEvent('close');
});

test.describe('without JavaScript', () => {
  test.use({ javaScriptEnabled: false });

  test('f11 the account is connected, and the page says so', async ({ page, stage }) => {
    const flow = await stage.valetkey.startFlow('account', { user: 'u1' });
    await page.goto(flow.authorizationUrl);
    await page.getByRole('link', { name: 'Continue' }).click();
    await signIn(page);
    await expect(page.getByRole('heading', { name: 'Account connected' })).toBeVisible();
    await expect(page.getByText('You can close this window.')).toBeVisible();
    expect(await stage.valetkey.standing('account', 'u1')).toBe('connected');
  });
});
