// @ts-check
// The pages of a flow, in a real browser at a real authorization server.
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
