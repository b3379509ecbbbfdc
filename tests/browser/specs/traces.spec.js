// @ts-check
// What pages run, load and leave behind in a browser.
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { enter, open, personKey } from '../support/console.js';
import { expect, signIn, test } from '../support/test.js';

test.beforeEach(({ stage }) => stage.connector());

test('f02 what a provider says runs nothing and leads nowhere', async ({ page, stage }) => {
  const payloads = [
    '<script>alert(1)</script>',
    '<img src=x onerror=alert(1)>',
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    'javascript:alert(1)',
    '{{constructor.constructor("alert(1)")()}}',
    '</script><script>alert(1)</script>',
    'a\u2028alert(1)\u2029',
    '+ADw-script+AD4-alert(1)+ADw-/script+AD4-',
    // As much as fits into an address that servers take.
    '<b>alert</b>'.repeat(100),
  ];
  for (const payload of payloads) {
    const flow = await stage.valetkey.startFlow('account', { user: 'u1' });
    await page.goto(flow.authorizationUrl);
    const callback = new URL(`${stage.valetkey.base}/api/actions/connector/_oauth_callback/account`);
    callback.search = new URLSearchParams({ state: flow.state, error: 'x', error_description: payload, error_uri: payload }).toString();
    await page.goto(callback.href);
    await expect(page.getByRole('heading', { level: 1 })).toHaveText('The account was not connected');
    expect(await page.locator('a, img, iframe, b, script:not([src])').count(), payload).toBe(0);
    expect(await page.locator('body').innerText(), payload).not.toContain('alert');
  }
});

test('f16 nobody else is asked for anything', async ({ page, context, stage }) => {
  const { base } = stage.valetkey;
  const provider = String(stage.provider.url);
  /** @type {string[]} */
  const asked = [];
  context.on('request', (request) => {
    const isProviders = request.isNavigationRequest() ? request.url().startsWith(provider) : request.frame().url().startsWith(provider);
    if (!isProviders && !request.url().startsWith('data:')) asked.push(request.url());
  });
  const flow = await stage.valetkey.startFlow('account', { user: 'alice' });
  await page.goto(flow.authorizationUrl);
  await page.getByRole('link', { name: 'Continue' }).click();
  await signIn(page);
  await expect(page.getByRole('heading', { name: 'Account connected' })).toBeVisible();
  await enter(page, stage.valetkey, await personKey(stage.valetkey));
  for (const name of ['Connectors', 'Connector types', 'Connections', 'API keys', 'Audit log', 'Health', 'My connections']) await open(page, name);
  await page.waitForLoadState('networkidle');
  expect(asked.length).toBeGreaterThan(20);
  expect(asked.some((url) => url.includes('/app/icons/')), 'icons are ours').toBe(true);
  expect(asked.filter((url) => !url.startsWith(`${base}/`))).toEqual([]);
  await page.close();
});

test('f22 no page has a service worker, and none can get one', async ({ page, stage, watch }) => {
  watch.expect(/policy violated|trusted|service worker|security policy/i);
  const flow = await stage.valetkey.startFlow('account', { user: 'u1' });
  for (const url of [`${stage.valetkey.base}/app`, flow.authorizationUrl]) {
    await page.goto(url);
    await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
    const registered = page.evaluate(async () => {
      const script = /** @type {HTMLScriptElement} */ (document.querySelector('script[src]')).src;
      return navigator.serviceWorker.register(script).then(() => 'registered', (error) => error.name);
    });
    expect(['TypeError', 'SecurityError'], url).toContain(await registered);
    const all = await page.evaluate(async () => (await navigator.serviceWorker.getRegistrations()).length);
    expect(all, url).toBe(0);
  }
});

/** Every file below a directory. @param {string} dir @returns {Promise<string[]>} */
async function filesBelow(dir) {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

test("f17 nothing secret is left in the browser's profile", async ({ playwright, stage, watch }) => {
  const profile = await mkdtemp(join(tmpdir(), 'valetkey-profile-'));
  const { launchOptions } = test.info().project.use;
  const context = await playwright.chromium.launchPersistentContext(profile, launchOptions);
  await watch.over(context);
  const page = await context.newPage();
  const key = await personKey(stage.valetkey);
  const clientSecret = String(stage.provider.clientSecret);
  await enter(page, stage.valetkey, key, '/app/connectors/account/edit');
  const [session] = await context.cookies(stage.valetkey.base);
  await page.getByLabel(/^Client secret/).fill(clientSecret);
  await page.getByRole('button', { name: 'Save changes' }).click();
  await expect(page.getByText('Changes saved')).toBeVisible();
  const flow = await stage.valetkey.startFlow('account', { user: 'alice' });
  await page.goto(flow.authorizationUrl);
  await page.getByRole('link', { name: 'Continue' }).click();
  await signIn(page);
  await expect(page.getByRole('heading', { name: 'Account connected' })).toBeVisible();
  const { access_token: token } = await stage.valetkey.api('/api/actions/connector/account/_oauth_access_token', { body: {}, user: 'alice' });
  await page.goto(`${stage.valetkey.base}/app/audit`);
  await page.locator('.account summary').click();
  await page.getByRole('button', { name: 'Sign out', exact: true }).click();
  await expect(page.getByText('You are signed out.')).toBeVisible();
  await context.close();

  const files = await filesBelow(profile);
  const texts = await Promise.all(files.map((file) => readFile(file)));
  const found = (/** @type {string} */ text) => files.filter((_, i) => ['utf8', 'utf16le'].some((form) => texts[i].includes(text, 0, /** @type {BufferEncoding} */ (form))));
  expect(found(`127.0.0.1:${stage.valetkey.port}`), 'the profile is one that was used').not.toEqual([]);
  // Addresses stay in the history; what they hold, a code and a state, is used up.
  for (const secret of [key, clientSecret, session.value, token]) {
    expect(secret.length).toBeGreaterThan(16);
    expect(found(secret)).toEqual([]);
  }
  await rm(profile, { recursive: true, force: true });
});
