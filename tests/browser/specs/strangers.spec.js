// @ts-check
// What pages of other sites can do with ours, in a browser that would let them.
import { enter, personKey } from '../support/console.js';
import { expect, signIn, test } from '../support/test.js';

/** @typedef {import('@playwright/test').Page} Page */

/**
 * A page without any policy: of another site, or of the same one (another port of the same host).
 * @param {Page} page @param {import('../support/test.js').Stage} stage @param {import('../support/watch.js').Watch} watch
 * @param {'cross-site' | 'same-site'} site
 */
async function visitStranger(page, stage, watch, site) {
  const url = new URL('/__t/stats', stage.provider.url);
  if (site === 'cross-site') url.hostname = 'localhost';
  watch.foreign.add(url.origin);
  await page.goto(url.href);
  return url;
}

for (const site of /** @type {const} */ (['cross-site', 'same-site'])) {
  test(`f06 ${site}: no page can be framed`, async ({ page, stage, watch }) => {
    await stage.connector();
    const { base } = stage.valetkey;
    const flow = await stage.valetkey.startFlow('account', { user: 'u1' });
    const stranger = await visitStranger(page, stage, watch, site);
    const refusals = /** @type {string[]} */ ([]);
    page.on('console', (message) => { if (/frame-ancestors|X-Frame-Options/i.test(message.text())) refusals.push(message.text()); });
    watch.expect(/frame|status of 403/i);
    const frame = async (/** @type {string} */ url) => {
      const element = await page.evaluateHandle(async (src) => {
        const frame = document.createElement('iframe');
        const loaded = new Promise((resolve) => frame.addEventListener('load', resolve, { once: true }));
        frame.src = src;
        document.body.append(frame);
        await loaded;
        return frame;
      }, url);
      return element.asElement()?.contentFrame();
    };
    expect((await frame(stranger.href))?.url(), 'frames work here').toBe(stranger.href);
    const callback = `${base}/api/actions/connector/_oauth_callback/account?error=access_denied&state=${flow.state}`;
    for (const url of [flow.authorizationUrl, `${flow.authorizationUrl}/cancel`, callback, `${base}/app`, `${base}/app/connectors/account`]) {
      // What the frame shows instead is the browser's own page, which says nothing of itself that could be relied on.
      const before = refusals.length;
      await frame(url);
      await expect.poll(() => refusals.length, url).toBeGreaterThan(before);
      expect(refusals.at(-1), url).toContain(new URL(url).origin);
    }
    // Nothing was bound to this browser or used up by that.
    await page.goto(flow.authorizationUrl);
    await page.getByRole('link', { name: 'Continue' }).click();
    await signIn(page);
    await expect(page.getByRole('heading', { name: 'Account connected' })).toBeVisible();
  });

  test(`f21 ${site}: what exists looks like what does not`, async ({ page, stage, watch }) => {
    await stage.connector();
    const { base } = stage.valetkey;
    await enter(page, stage.valetkey, await personKey(stage.valetkey));
    await page.waitForLoadState('networkidle');
    await visitStranger(page, stage, watch, site);
    const probe = (/** @type {string} */ path) =>
      page.evaluate(async (url) => {
        const load = (/** @type {'img' | 'script'} */ name) =>
          new Promise((resolve) => {
            const element = document.createElement(name);
            element.onload = () => resolve('loaded');
            element.onerror = () => resolve('refused');
            element.src = url;
            document.body.append(element);
          });
        const fetched = fetch(url, { mode: 'no-cors', credentials: 'include' }).then(() => 'answered', () => 'refused');
        return Promise.all([fetched, load('img'), load('script')]);
      }, base + path);
    for (const path of ['account', 'missing']) {
      expect(await probe(`/api/actions/connector/${path}`)).toEqual(['refused', 'refused', 'refused']);
      expect(await probe(`/app/connectors/${path}`)).toEqual(['refused', 'refused', 'refused']);
    }
  });
}

test('f07 whoever opened the window of a flow is sent no message', async ({ page, stage, watch }) => {
  await stage.connector();
  const flow = await stage.valetkey.startFlow('account', { user: 'u1' });
  await visitStranger(page, stage, watch, 'cross-site');
  const heard = await page.evaluateHandle(() => {
    const messages = /** @type {unknown[]} */ ([]);
    addEventListener('message', ({ data }) => messages.push(data));
    return messages;
  });
  const opened = page.waitForEvent('popup');
  await page.evaluate((url) => void window.open(url), flow.authorizationUrl);
  const popup = await opened;
  await popup.getByRole('link', { name: 'Continue' }).click();
  await signIn(popup);
  const closed = popup.waitForEvent('close');
  await expect(popup.getByRole('heading', { name: 'Account connected' })).toBeVisible();
  expect(await popup.evaluate(() => window.opener)).toBe(null);
  await closed;
  expect(await heard.jsonValue()).toEqual([]);
});

test.describe('a provider on another site', () => {
  test.use({ host: 'localhost' });

  test('a11 the cookie of a flow comes back with the browser', async ({ page, context, stage }) => {
    await stage.connector();
    const flow = await stage.valetkey.startFlow('account', { user: 'u1' });
    await page.goto(flow.authorizationUrl);
    const [cookie] = await context.cookies(stage.valetkey.base);
    expect(cookie).toMatchObject({ httpOnly: true, sameSite: 'Lax', path: '/' });
    await page.getByRole('link', { name: 'Continue' }).click();
    await signIn(page);
    await expect(page.getByRole('heading', { name: 'Account connected' })).toBeVisible();
    expect(await context.cookies(stage.valetkey.base)).toEqual([]);
  });

  test('a11 an answer that is posted from there connects nothing', async ({ page, stage, watch }) => {
    await stage.connector();
    const flow = await stage.valetkey.startFlow('account', { user: 'u1' });
    await page.goto(flow.authorizationUrl);
    await page.goto(`${stage.provider.url}/__t/stats`);
    watch.expect(/status of 405/);
    const answered = page.waitForResponse(/_oauth_callback\/account$/);
    await page.evaluate(
      ([action, state]) => {
        const form = document.createElement('form');
        Object.assign(form, { method: 'post', action });
        for (const [name, value] of [['code', 'x'], ['state', state]]) form.append(Object.assign(document.createElement('input'), { name, value }));
        document.body.append(form);
        form.submit();
      },
      [`${stage.valetkey.base}/api/actions/connector/_oauth_callback/account`, flow.state],
    );
    expect((await answered).status()).toBe(405);
    expect(await stage.valetkey.standing('account', 'u1')).toBe('not_connected');
    expect(await stage.provider.count('grant authorization_code')).toBe(0);
  });
});
