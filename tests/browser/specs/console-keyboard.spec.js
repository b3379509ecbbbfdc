// @ts-check
// The main path without a mouse.
import { personKey } from '../support/console.js';
import { expect, signIn, test } from '../support/test.js';

// Before the server stops, which would fail what the page still asks for.
test.afterEach(({ page }) => page.close());

/** Tabs until an element has the focus, as a person would. @param {import('@playwright/test').Page} page @param {import('@playwright/test').Locator} goal */
async function tabTo(page, goal, limit = 60) {
  await expect(goal).toBeVisible();
  for (let at = 0; at < limit; at += 1) {
    if (await goal.evaluate((element) => element === document.activeElement)) return;
    await page.keyboard.press('Tab');
  }
  throw new Error(`the keyboard does not reach ${goal}`);
}

test('an account is connected with the keyboard alone', async ({ page, stage }) => {
  const { valetkey, provider } = stage;
  await page.goto(`${valetkey.base}/app`);
  await tabTo(page, page.getByLabel('API key'));
  await page.keyboard.type(await personKey(valetkey));
  await page.keyboard.press('Enter');
  await expect(page.getByRole('heading', { name: 'No connectors yet' })).toBeVisible();

  // The first stop is the way past the navigation.
  await page.reload();
  await expect(page.getByRole('heading', { name: 'No connectors yet' })).toBeVisible();
  await tabTo(page, page.getByRole('link', { name: 'Skip to content' }), 2);
  await page.keyboard.press('Enter');
  await tabTo(page, page.getByRole('main').getByRole('link', { name: 'New connector' }).first(), 3);
  await page.keyboard.press('Enter');
  await tabTo(page, page.getByRole('link', { name: 'Create connector: HTTP' }));
  await page.keyboard.press('Enter');

  const { config, secrets } = provider.connector();
  const type = async (label, text) => { await tabTo(page, page.getByLabel(label).first()); await page.keyboard.type(text); };
  await type(/^Name$/, 'By keyboard');
  await type(/^ID/, 'account');
  await type(/^Base URL/, config.baseUrl);
  await tabTo(page, page.getByLabel('Method'));
  await page.keyboard.type('OAuth a');
  await type(/^Authorization URL/, secrets.authorizationUrl);
  await type(/^Token URL/, secrets.tokenUrl);
  await type(/^Client ID/, secrets.clientId);
  await type(/^Client secret/, secrets.clientSecret);
  await type(/^Scope/, secrets.scope);
  await page.keyboard.press('Enter');
  await tabTo(page, page.getByRole('button', { name: 'Authorize' }));
  await page.keyboard.press('Enter');
  await signIn(page);
  await expect(page.getByText('Account connected', { exact: true })).toBeVisible();

  await tabTo(page, page.getByRole('button', { name: 'Disconnect' }));
  const ring = await page.evaluate(() => getComputedStyle(/** @type {Element} */ (document.activeElement)).outlineStyle);
  expect(ring).toBe('solid');
  await page.keyboard.press('Enter');
  // The dialog begins at what changes nothing, and Escape leaves it.
  await expect(page.getByRole('dialog').getByRole('button', { name: 'Cancel' })).toBeFocused();
  await page.keyboard.press('Escape');
  await expect(page.getByRole('dialog')).toHaveCount(0);
  expect(await valetkey.standing('account', 'alice')).toBe('connected');
});
