// @ts-check
// What the console must not do, whatever others wrote, and what it weighs.
import { enter, open, personKey } from '../support/console.js';
import { expect, look, test } from '../support/test.js';

// Before the server stops, which would fail what the page still asks for.
test.afterEach(({ page }) => page.close());

const HOSTILE = '<img src=x onerror=alert(1)><script>alert(2)</script> \u202Egpj.exe\u200B {{7*7}} javascript:alert(3) ';

test('f03 f05 names that others wrote are text, cut, and without marks that turn it around', async ({ page, stage }) => {
  await stage.connector('account', { name: (HOSTILE + 'x'.repeat(300)).slice(0, 255) });
  await enter(page, stage.valetkey, await personKey(stage.valetkey));
  for (const path of ['/app/connectors', '/app/connectors/account', '/app/connectors/account/run', '/app/mine', '/app/audit']) {
    await page.goto(stage.valetkey.base + path);
    await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
    await page.waitForLoadState('networkidle');
    const seen = await page.evaluate(() => ({ text: document.body.innerText, injected: document.querySelectorAll('img[src="x"], #app script').length }));
    expect(seen.injected, path).toBe(0);
    expect(seen.text, path).not.toMatch(/[\u202A-\u202E\u2066-\u2069\u200B]/);
    expect(seen.text, path).not.toContain('x'.repeat(150));
  }
  await page.goto(`${stage.valetkey.base}/app/connectors/account`);
  await expect(page.getByRole('heading', { level: 1 })).toContainText('<img src=x onerror=alert(1)>');
  await look(page, 'console-hostile');
});

test('f05 an address that somebody made says nothing in our name', async ({ page, stage }) => {
  await stage.connector();
  await enter(page, stage.valetkey, await personKey(stage.valetkey));
  await page.goto(`${stage.valetkey.base}/app/connectors/account?oauth_authorization=error&connector_id=account&status_code=400&error=call+0900`);
  await expect(page.getByRole('heading', { level: 1, name: 'An account' })).toBeVisible();
  await page.waitForLoadState('networkidle');
  await expect(page.getByText('0900')).toHaveCount(0);
  expect(new URL(page.url()).search).toBe('');
});

test('f01 f06 f19 the document and its files have strict headers', async ({ request, stage }) => {
  const { base } = stage.valetkey;
  const page = await request.get(`${base}/app/connectors`);
  const headers = page.headers();
  expect(headers['content-security-policy']).toContain("default-src 'none'; script-src 'self'; style-src 'self'");
  expect(headers['content-security-policy']).toContain("frame-ancestors 'none'; require-trusted-types-for 'script'");
  expect(headers['content-security-policy']).not.toMatch(/unsafe|\*|http/);
  expect(headers).toMatchObject({
    'x-frame-options': 'DENY', 'x-content-type-options': 'nosniff', 'cache-control': 'no-store', 'referrer-policy': 'no-referrer',
    'cross-origin-opener-policy': 'same-origin', 'cross-origin-resource-policy': 'same-origin',
  });
  const asset = /\/app\/assets\/[0-9a-f]+\/main\.js/.exec(await page.text())?.[0];
  const script = await request.get(base + asset);
  expect(script.headers()).toMatchObject({ 'cache-control': 'public, max-age=31536000, immutable', 'content-encoding': 'gzip', 'cross-origin-resource-policy': 'same-origin' });
  expect((await request.get(base + String(asset).replace(/[0-9a-f]{16}/, '0'.repeat(16)))).status()).toBe(404);
  const icon = await request.get(`${base}/app/icons/.notion`);
  expect(icon.headers()).toMatchObject({ 'content-type': 'image/svg+xml', 'content-security-policy': "default-src 'none'; sandbox" });
  const foreign = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image' };
  expect((await request.get(`${base}/app/icons/.notion`, { headers: foreign })).status()).toBe(403);
});

test('the first load is small', async ({ page, stage }) => {
  const session = await page.context().newCDPSession(page);
  await session.send('Network.enable');
  /** @type {Map<string, string>} */
  const kinds = new Map();
  const sizes = { script: 0, all: 0 };
  session.on('Network.responseReceived', ({ requestId, type }) => kinds.set(requestId, type));
  session.on('Network.loadingFinished', ({ requestId, encodedDataLength }) => {
    sizes.all += encodedDataLength;
    if (kinds.get(requestId) === 'Script') sizes.script += encodedDataLength;
  });
  await enter(page, stage.valetkey, stage.valetkey.adminKey);
  await page.waitForLoadState('networkidle');
  console.log(`first load: ${sizes.script} bytes of script, ${sizes.all} bytes in all`);
  expect(sizes.script).toBeGreaterThan(10_000);
  expect(sizes.script).toBeLessThanOrEqual(100 * 1024);
  expect(sizes.all).toBeLessThanOrEqual(200 * 1024);
});

test('f17 after signing out nothing is shown by going back', async ({ page, stage }) => {
  await stage.connector();
  await enter(page, stage.valetkey, stage.valetkey.adminKey, '/app/connectors');
  await expect(page.getByText('An account')).toBeVisible();
  await open(page, 'Audit log');
  await page.locator('.account summary').click();
  await page.getByRole('button', { name: 'Sign out', exact: true }).click();
  await expect(page.getByText('You are signed out.')).toBeVisible();
  await page.goBack();
  await expect(page.getByRole('heading', { name: 'Sign in' })).toBeVisible();
  await expect(page.getByText('An account')).toHaveCount(0);
});

test('f18 the settings of a connector come without its secrets, and keep those that are left empty', async ({ page, stage }) => {
  await stage.connector();
  /** @type {Promise<string>[]} */
  const bodies = [];
  page.on('response', (response) => {
    if (response.url().includes('/api/')) bodies.push(response.text().catch(() => ''));
  });
  await enter(page, stage.valetkey, await personKey(stage.valetkey), '/app/connectors/account/edit');
  const secret = page.getByLabel(/^Client secret/);
  await expect(secret).toHaveAttribute('autocomplete', 'new-password');
  await expect(secret).toHaveAttribute('placeholder', /Kept/);
  await page.getByLabel(/^Scope/).first().fill('read');
  await page.getByRole('button', { name: 'Save changes' }).click();
  await expect(page.getByText('Changes saved')).toBeVisible();
  expect((await Promise.all(bodies)).join()).not.toContain(stage.provider.clientSecret);
  const connector = await stage.valetkey.api('/api/actions/connector/account');
  expect(connector).toMatchObject({ is_missing_secrets: false, auth: { scope: 'read', clientId: 'valetkey-browser-tests' } });
});

test('a refusal shows its message and the id of its request', async ({ page, stage, watch }) => {
  watch.expect(/status of 401/);
  await page.goto(`${stage.valetkey.base}/app`);
  await page.getByLabel('API key').fill('vk_wrong');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await expect(page.getByRole('alert')).toContainText(/Request id: [0-9a-f]+-[0-9a-f]+/);
  await look(page, 'console-refused');
});

test('the navigation has what the session may see', async ({ page, stage }) => {
  const key = await personKey(stage.valetkey, { user: 'ben', privileges: ['oauth:connect', 'connectors:read'] });
  await enter(page, stage.valetkey, key);
  const links = page.getByRole('navigation', { name: 'Console' }).getByRole('link');
  await expect(links).toHaveText([/My connections/, /Connectors/, /Connector types/]);
});

test('a space is part of the address', async ({ page, stage }) => {
  await enter(page, stage.valetkey, stage.valetkey.adminKey, '/s/team-a/app/connectors');
  await expect(page).toHaveURL(`${stage.valetkey.base}/s/team-a/app/connectors`);
  await page.getByLabel('Space', { exact: true }).fill('team-b');
  await page.getByRole('button', { name: 'Switch space' }).click();
  await expect(page).toHaveURL(`${stage.valetkey.base}/s/team-b/app/connectors`);
  await expect(page.getByRole('heading', { name: 'No connectors yet' })).toBeVisible();
  await page.waitForLoadState('networkidle');
});

test.describe('at a first start', () => {
  // Nobody has a key yet, so that a link is printed.
  test.use({ settings: /** @type {any} */ ({ BOOTSTRAP_API_KEY: undefined }) });

  test('a sign-in link works once, and does not stay in the address', async ({ page, stage, watch }) => {
    const [link] = (await stage.valetkey.program?.said(/http\S+\/app\/sign-in#\S+/)) ?? [''];
    await page.goto(link);
    await expect(page.getByRole('heading', { level: 1, name: 'Connectors' })).toBeVisible();
    expect(page.url()).toBe(`${stage.valetkey.base}/app/connectors`);
    await page.locator('.account summary').click();
    await page.getByRole('button', { name: 'Sign out everywhere' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Sign out' }).click();
    await expect(page.getByText('You are signed out.')).toBeVisible();
    watch.expect(/status of 401/);
    await page.goto(link);
    await expect(page.getByRole('alert')).toContainText('used up or too old');
  });
});
