// @ts-check
// The connect page and every state of its link, in an operator's look and in other languages.
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { anotherBrowser, expect, look, signIn, test } from '../support/test.js';

const LOGO =
  '<svg xmlns="http://www.w3.org/2000/svg" width="150" height="36" viewBox="0 0 150 36"><script>alert(1)</script>' +
  '<rect width="36" height="36" rx="9" fill="#0a7d5c"/><path d="M10 25 18 10l8 15z" fill="#fff"/>' +
  '<text x="46" y="25" font-family="sans-serif" font-size="20" font-weight="700" fill="#0a7d5c">Acme</text></svg>';
const ARABIC = [
  'connect-title = ربط { $connector }',
  'connect-lead = يطلب { $brand } الوصول إلى حسابك في { $service }.',
  'connect-user = ربط لأجل',
  'connect-service = الخدمة',
  'connect-host = تسجيل الدخول في',
  'connect-scopes = سيكون بإمكانه',
  'connect-warning = تابع فقط إذا بدأت هذا بنفسك.',
  'connect-continue = متابعة',
  'connect-cancel = إلغاء',
].join('\n');

/** A directory with these files. @param {Record<string, string>} files */
async function directory(files) {
  const dir = await mkdtemp(join(tmpdir(), 'valetkey-pages-'));
  for (const [name, text] of Object.entries(files)) await writeFile(join(dir, name), text);
  return dir;
}

test.describe('as it comes', () => {
  test.beforeEach(({ stage }) => stage.connector());

  test('f20 a click counts once the page was in view for half a second', async ({ page, stage }) => {
    const flow = await stage.valetkey.startFlow('account', { user: 'u1' });
    // The page's clock stands still until the test lets it go on.
    await page.clock.install();
    await page.clock.pauseAt(Date.now() + 60_000);
    await page.goto(flow.authorizationUrl);
    const link = page.locator('#continue');
    await expect(link).toHaveAttribute('aria-disabled', 'true');
    await link.click({ force: true });
    await page.clock.runFor(499);
    await link.click({ force: true });
    expect(page.url()).toBe(flow.authorizationUrl);
    await page.clock.runFor(1);
    await expect(link).not.toHaveAttribute('aria-disabled');
    await link.click();
    await page.waitForURL(`${stage.provider.url}/**`);
  });

  test('f20 a page that was hidden starts to wait again', async ({ page, stage }) => {
    const flow = await stage.valetkey.startFlow('account', { user: 'u1' });
    await page.clock.install();
    await page.clock.pauseAt(Date.now() + 60_000);
    await page.goto(flow.authorizationUrl);
    await page.clock.runFor(500);
    const link = page.locator('#continue');
    await expect(link).not.toHaveAttribute('aria-disabled');
    await page.evaluate(() => {
      window.dispatchEvent(new Event('focus'));
    });
    await expect(link).toHaveAttribute('aria-disabled', 'true');
    await page.clock.runFor(500);
    await expect(link).not.toHaveAttribute('aria-disabled');
  });

  test('f20 a page that nobody sees does not wait, and waits when it is seen again', async ({ page, stage }) => {
    const flow = await stage.valetkey.startFlow('account', { user: 'u1' });
    await page.clock.install();
    await page.clock.pauseAt(Date.now() + 60_000);
    await page.goto(flow.authorizationUrl);
    await page.clock.runFor(500);
    const link = page.locator('#continue');
    await expect(link).not.toHaveAttribute('aria-disabled');
    const turn = (/** @type {string} */ state) =>
      page.evaluate((value) => {
        Object.defineProperty(document, 'visibilityState', { value, configurable: true });
        document.dispatchEvent(new Event('visibilitychange'));
      }, state);
    await turn('hidden');
    await page.clock.runFor(60_000);
    await expect(link).toHaveAttribute('aria-disabled', 'true');
    await turn('visible');
    await page.clock.runFor(499);
    await expect(link).toHaveAttribute('aria-disabled', 'true');
    await page.clock.runFor(1);
    await expect(link).not.toHaveAttribute('aria-disabled');
  });

  test('f11 everything works without scripts', async ({ browser, stage, watch }) => {
    const context = await browser.newContext({ javaScriptEnabled: false });
    watch.navigated.add(stage.valetkey.base);
    const page = await context.newPage();
    const flow = await stage.valetkey.startFlow('account', { user: 'u1' });
    await page.goto(flow.authorizationUrl);
    await page.locator('#continue').click();
    await signIn(page);
    await expect(page.getByRole('heading', { name: 'Account connected' })).toBeVisible();
    await expect(page.getByText('You can close this window.')).toBeVisible();
    expect(await stage.valetkey.standing('account', 'u1')).toBe('connected');
    await context.close();
  });

  test('the person changes their mind', async ({ page, stage }) => {
    const flow = await stage.valetkey.startFlow('account', { user: 'u1' });
    await page.goto(flow.authorizationUrl);
    await page.getByRole('link', { name: 'Cancel' }).click();
    await expect(page.getByRole('heading', { name: 'Cancelled' })).toBeVisible();
    await look(page, 'cancelled');
    await page.goto(flow.authorizationUrl);
    await expect(page.getByRole('heading', { name: 'Already finished' })).toBeVisible();
    expect(await stage.valetkey.standing('account', 'u1')).toBe('not_connected');
  });

  test('a link that nobody made', async ({ page, stage }) => {
    await page.goto(`${stage.valetkey.base}/connect/unknown`);
    await expect(page.getByRole('heading', { name: 'This link does not work' })).toBeVisible();
    await look(page, 'unknown-link');
  });

  test('a10 going on in another browser', async ({ browser, page, stage, watch }) => {
    const flow = await stage.valetkey.startFlow('account', { user: 'u1' });
    await page.goto(flow.authorizationUrl);
    const other = await anotherBrowser(browser, watch);
    const second = await other.newPage();
    await second.goto(`${flow.authorizationUrl}/cancel`);
    await expect(second.getByRole('heading', { name: 'Another browser' })).toBeVisible();
    await look(second, 'wrong-browser');
    await other.close();
    await page.reload();
    await expect(page.getByRole('link', { name: 'Continue' })).toBeVisible();
  });

  test('f20 scopes are said in plain words', async ({ page, stage }) => {
    await stage.valetkey.createConnector('slack', {
      name: 'Team chat',
      connector_type_id: '.slack2',
      config: {},
      secrets: { authType: 'oauth_authorization_code', clientId: 'id', clientSecret: 'a secret' },
    });
    const flow = await stage.valetkey.startFlow('slack', { user: 'maria@example.com' });
    await page.goto(flow.authorizationUrl);
    await expect(page.getByText('Read messages in public channels')).toBeVisible();
    await expect(page.getByText('slack.com', { exact: true })).toBeVisible();
    await look(page, 'connect-many-scopes');
  });
});

test.describe('a flow that ended', () => {
  test.use({ settings: { OAUTH__FLOW_TTL: '1ms' } });

  test('a link that is too old', async ({ page, stage }) => {
    await stage.connector();
    const flow = await stage.valetkey.startFlow('account', { user: 'u1' });
    await page.goto(flow.authorizationUrl);
    await expect(page.getByRole('heading', { name: 'This took too long' })).toBeVisible();
    await look(page, 'expired');
  });
});

test.describe('in the look of an operator', () => {
  test.use({
    settings: async ({}, use) => {
      const logo = join(await directory({ 'logo.svg': LOGO }), 'logo.svg');
      await use({
        BRANDING__NAME: 'Acme',
        BRANDING__LOGO_FILE: logo,
        BRANDING__ACCENT: '#0a7d5c',
        BRANDING__ACCENT_DARK: '#5fe0b4',
        LOCALES_DIR: await directory({ 'ar.ftl': ARABIC }),
      });
    },
  });
  test.beforeEach(({ stage }) => stage.connector());

  test('f03 name, logo and colour are shown, and the logo runs nothing', async ({ page, stage }) => {
    const flow = await stage.valetkey.startFlow('account', { user: 'u1' });
    await page.goto(flow.authorizationUrl);
    await expect(page.getByText('Acme asks for access')).toBeVisible();
    await expect(page.getByRole('img', { name: 'Acme' })).toBeVisible();
    await expect(page.locator('#continue')).toHaveCSS('background-color', 'rgb(10, 125, 92)');
    await expect(page.locator('#continue')).not.toHaveAttribute('aria-disabled');
    await look(page, 'connect-branded');
  });

  test('a language that runs from right to left', async ({ browser, stage, watch }) => {
    const context = await browser.newContext({ locale: 'ar-EG' });
    await watch.over(context);
    const page = await context.newPage();
    const flow = await stage.valetkey.startFlow('account', { user: 'u1' });
    await page.goto(flow.authorizationUrl);
    await expect(page.locator('html')).toHaveAttribute('dir', 'rtl');
    await expect(page.getByRole('link', { name: 'متابعة' })).toBeVisible();
    await expect(page.locator('#continue')).not.toHaveAttribute('aria-disabled');
    await look(page, 'connect-arabic');
    await context.close();
  });
});
