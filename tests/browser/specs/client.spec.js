// @ts-check
// The client library in an application on another site, which keeps the API key and forwards.
import { anotherBrowser, deny, expect, look, signIn, test } from '../support/test.js';

const WAITING = 'Waiting for you to finish at the provider';

/** @param {import('@playwright/test').Page} page */
const status = (page) => page.getByRole('status');

/** Clicks what opens a window, and answers with that. @param {import('@playwright/test').Page} page */
async function openWindow(page, name = 'Connect in a window') {
  const opened = page.waitForEvent('popup');
  await page.getByRole('button', { name }).click();
  const window = await opened;
  await expect(window.getByRole('link', { name: 'Continue' })).toBeVisible();
  return window;
}

/** Goes through connect page and provider; the window may be gone at the end. @param {import('@playwright/test').Page} window */
async function finish(window) {
  await window.getByRole('link', { name: 'Continue' }).click();
  await signIn(window);
}

for (const path of ['/', '/react']) {
  test.describe(path === '/' ? 'plain' : 'react', () => {
    test.beforeEach(async ({ app, page }) => {
      await page.goto(app.base + path);
      await expect(page.getByRole('button', { name: 'Connect in a window' })).toBeVisible();
    });

    test('a window connects the account and closes itself', async ({ page }) => {
      const window = await openWindow(page);
      await expect(status(page)).toHaveText(WAITING);
      const closed = window.waitForEvent('close');
      await finish(window);
      await closed;
      await expect(status(page)).toHaveText('Connected');
    });

    test('this tab connects the account and comes back', async ({ page, app }) => {
      await page.getByRole('button', { name: 'Connect in this tab' }).click();
      await finish(page);
      await expect(status(page)).toHaveText('Connected');
      expect(page.url(), 'the parameters are gone').toBe(app.base + path);
    });

    test('whoever says no is told so, in a window and in this tab', async ({ page, app }) => {
      const window = await openWindow(page);
      await window.getByRole('link', { name: 'Continue' }).click();
      await deny(window);
      await expect(status(page)).toContainText('Not connected: access was not granted at the provider');
      await page.getByRole('button', { name: 'Connect in this tab' }).click();
      await page.getByRole('link', { name: 'Continue' }).click();
      await deny(page);
      await expect(status(page)).toContainText('Not connected: access was not granted at the provider');
      expect(page.url()).toBe(app.base + path);
    });

    test('f11 a window that is closed is noticed, and the next one works', async ({ page }) => {
      const window = await openWindow(page);
      await window.close();
      await expect(status(page)).toContainText('The window was closed', { timeout: 3_000 });
      const next = await openWindow(page);
      await finish(next);
      await expect(status(page)).toHaveText('Connected');
    });

    test('a flow that is cancelled cannot be finished', async ({ page, stage }) => {
      const window = await openWindow(page);
      const cancelled = page.waitForResponse(/_oauth_cancel$/);
      await page.getByRole('button', { name: 'Cancel' }).click();
      await expect(status(page)).not.toHaveText(WAITING);
      expect((await cancelled).status()).toBe(204);
      await finish(window);
      // The state was used up when the flow was cancelled.
      await expect(window.getByRole('heading', { level: 1 })).toHaveText(/not connected|finished/);
      expect(await stage.provider.count('grant authorization_code')).toBe(0);
    });

    test('an account is disconnected', async ({ page, stage }) => {
      await finish(await openWindow(page));
      await expect(status(page)).toHaveText('Connected');
      await page.getByRole('button', { name: 'Disconnect' }).click();
      await expect(status(page)).toHaveText('Not connected');
      expect(await stage.valetkey.standing('account', 'guest-1')).toBe('not_connected');
    });

    test('everything works with the keyboard', async ({ page, stage }) => {
      const reach = async (/** @type {import('@playwright/test').Page} */ where, /** @type {string} */ name) => {
        for (let i = 0; i < 10; i += 1) {
          await where.keyboard.press('Tab');
          if (await where.evaluate((wanted) => document.activeElement?.textContent === wanted, name)) break;
        }
      };
      const opened = page.waitForEvent('popup');
      await reach(page, 'Connect in a window');
      await page.keyboard.press('Enter');
      const window = await opened;
      await expect(window.getByRole('link', { name: 'Continue' })).toBeVisible();
      await reach(window, 'Continue');
      // It works once the page was in view for a moment: who was too quick presses again.
      await expect(async () => {
        await window.keyboard.press('Enter');
        await window.waitForURL(`${stage.provider.url}/**`, { timeout: 1_000 });
      }).toPass();
      await signIn(window);
      await expect(status(page)).toHaveText('Connected');
    });

    test('it looks well', async ({ page }) => {
      await look(page, `example-${path === '/' ? 'plain' : 'react'}`);
    });
  });
}

test('without a return URL the library finds out by asking', async ({ app, page }) => {
  await page.goto(`${app.base}/?return=none`);
  await expect(status(page)).toHaveText('Not connected');
  const window = await openWindow(page);
  const closed = window.waitForEvent('close');
  await finish(window);
  await expect(status(page)).toHaveText('Connected');
  await closed;
});

test('f10 the provider has no way to the page that opened its window', async ({ app, page }) => {
  await page.goto(app.base);
  const window = await openWindow(page);
  expect(await window.evaluate(() => window.opener)).toBe(null);
  await window.getByRole('link', { name: 'Continue' }).click();
  await window.locator('input[name=login]').waitFor();
  expect(await window.evaluate(() => window.opener)).toBe(null);
});

test('a window that the browser blocks is noticed, and nothing is started', async ({ app, page, stage }) => {
  await page.addInitScript(() => {
    window.open = () => null;
  });
  await page.goto(app.base);
  await expect(status(page)).toHaveText('Not connected');
  await page.getByRole('button', { name: 'Connect in a window' }).click();
  await expect(status(page)).toContainText('The browser blocked the window');
  const { records } = await stage.valetkey.api('/api/audit');
  expect(records.filter((/** @type {{ type: string }} */ record) => record.type === 'flow.start')).toEqual([]);
});

test('f11 a double click opens one window', async ({ app, page }) => {
  await page.goto(app.base);
  await expect(status(page)).toHaveText('Not connected');
  /** @type {import('@playwright/test').Page[]} */
  const windows = [];
  page.on('popup', (window) => windows.push(window));
  await page.getByRole('button', { name: 'Connect in a window' }).dblclick();
  await expect.poll(() => windows.length).toBe(1);
  await expect(windows[0].getByRole('link', { name: 'Continue' })).toBeVisible();
  await finish(windows[0]);
  await expect(status(page)).toHaveText('Connected');
  expect(windows).toHaveLength(1);
});

test('f11 two tabs wait for their own flow', async ({ app, page, context }) => {
  const second = await context.newPage();
  for (const tab of [page, second]) {
    await tab.goto(app.base);
    await expect(status(tab)).toHaveText('Not connected');
  }
  const [first, other] = [await openWindow(page), await openWindow(second)];
  await other.getByRole('link', { name: 'Continue' }).click();
  await deny(other);
  await expect(status(second)).toContainText('Not connected: access was not granted');
  await expect(status(page)).toHaveText(WAITING);
  await finish(first);
  await expect(status(page)).toHaveText('Connected');
});

test('f08 f09 a message that does not name the flow is not believed', async ({ app, page, context, stage }) => {
  await page.goto(app.base);
  await expect(status(page)).toHaveText('Not connected');
  const forger = await context.newPage();
  await forger.goto(`${app.base}/return`);
  const forge = () =>
    forger.evaluate(() => {
      const channel = new BroadcastChannel('oauth_flow_completed');
      const message = { connectorId: 'account', status: 'success', statusCode: 200 };
      for (const flow of [undefined, '', 'account', 'A'.repeat(22)]) channel.postMessage({ ...message, flow });
      channel.postMessage(null);
      channel.postMessage({ ...message, status: 'error', error: 'forged' });
      channel.close();
    });
  await forge();
  const window = await openWindow(page);
  await forge();
  // What is heard is heard in order: the refusal that follows settles what the forged messages did not.
  await window.getByRole('link', { name: 'Continue' }).click();
  await deny(window);
  await expect(status(page)).toContainText('Not connected: access was not granted');
  expect(await stage.valetkey.standing('account', 'guest-1')).toBe('not_connected');
});

test('f08 a message to the window itself is not heard', async ({ app, page }) => {
  await page.goto(app.base);
  await expect(status(page)).toHaveText('Not connected');
  const window = await openWindow(page);
  await page.evaluate(() => {
    for (const data of [{ connectorId: 'account', status: 'success', statusCode: 200 }, 'success', null]) {
      postMessage(data, '*');
      postMessage(JSON.stringify(data), '*');
    }
  });
  await expect(status(page)).toHaveText(WAITING);
  // Messages are handled in order: whatever came before the refusal was handled when that is shown.
  await window.getByRole('link', { name: 'Continue' }).click();
  await deny(window);
  await expect(status(page)).toContainText('Not connected: access was not granted');
});

test('f10 a provider that leaves the sight of the page does not break the flow', async ({ app, page, stage }) => {
  await stage.provider.addHeaders({ 'cross-origin-opener-policy': 'same-origin' });
  // The window is in front; this browser gives the focus to all pages at once.
  await page.addInitScript(() => {
    document.hasFocus = () => false;
  });
  await page.goto(app.base);
  await expect(status(page)).toHaveText('Not connected');
  await finish(await openWindow(page));
  await expect(status(page)).toHaveText('Connected');
});

test('f08 a forged address says nothing of how things stand', async ({ app, page }) => {
  await page.goto(`${app.base}/?oauth_authorization=success&connector_id=account&status_code=200&tab=a%20b`);
  await expect(status(page)).toHaveText('Not connected');
  expect(page.url()).toBe(`${app.base}/?tab=a%20b`);
});

test('f12 a return URL that is not allowed is refused in the words of the server', async ({ app, page, watch }) => {
  watch.expect(/status of 400 .*_start_oauth_flow/);
  await page.goto(`${app.base}/?return=https://evil.example/`);
  await expect(status(page)).toHaveText('Not connected');
  await page.getByRole('button', { name: 'Connect in this tab' }).click();
  await expect(status(page)).toContainText('Not connected: returnUrl must be an absolute http(s) URL');
  expect(page.url()).toContain(app.base);
});

test('a10 another browser cannot finish the flow', async ({ app, browser, page, stage, watch }) => {
  await page.goto(app.base);
  await expect(status(page)).toHaveText('Not connected');
  const window = await openWindow(page);
  await window.getByRole('link', { name: 'Continue' }).click();
  await window.locator('input[name=login]').waitFor();
  const [request] = await stage.provider.log('/auth');
  const other = await anotherBrowser(browser, watch);
  const victim = await other.newPage();
  await victim.goto(`${stage.provider.url}/auth?${new URLSearchParams(request.query)}`);
  await signIn(victim, 'victim');
  await expect(victim.getByRole('heading', { level: 1 })).toHaveText(/Another browser|not connected/);
  expect(await stage.provider.count('grant authorization_code')).toBe(0);
  expect(await stage.valetkey.standing('account', 'guest-1')).toBe('not_connected');
  await other.close();
});

test('f11 the back button leads back to a page that works', async ({ app, page }) => {
  await page.goto(app.base);
  await expect(status(page)).toHaveText('Not connected');
  await page.getByRole('button', { name: 'Connect in this tab' }).click();
  await expect(page.getByRole('link', { name: 'Continue' })).toBeVisible();
  await page.goBack();
  await expect(status(page)).toHaveText(/^Not connected/);
  await page.getByRole('button', { name: 'Connect in this tab' }).click();
  await finish(page);
  await expect(status(page)).toHaveText('Connected');
});

test('f11 a callback that is loaded again says that it is finished', async ({ app, page, stage }) => {
  await page.goto(app.base);
  await expect(status(page)).toHaveText('Not connected');
  await page.getByRole('button', { name: 'Connect in this tab' }).click();
  const callback = page.waitForRequest(/_oauth_callback\/account/);
  await finish(page);
  await expect(status(page)).toHaveText('Connected');
  await page.goto((await callback).url());
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Already finished');
  expect(await stage.provider.count('grant authorization_code')).toBe(1);
});

test('an error of the server is told in its words', async ({ app, page, stage, watch }) => {
  watch.expect(/status of 404 .*_start_oauth_flow/);
  await page.goto(app.base);
  await expect(status(page)).toHaveText('Not connected');
  await stage.valetkey.api('/api/actions/connector/account', { method: 'DELETE' });
  const opened = page.waitForEvent('popup');
  await page.getByRole('button', { name: 'Connect in a window' }).click();
  const window = await opened;
  if (!window.isClosed()) await window.waitForEvent('close');
  await expect(status(page)).toHaveText(/^Not connected: .*connector/);
});

test('a component that is gone is not called, and its flow goes on', async ({ app, page, stage }) => {
  await page.goto(`${app.base}/react`);
  await expect(status(page)).toHaveText('Ready');
  const opened = page.waitForEvent('popup');
  const parts = await page.evaluateHandle(async () => {
    const load = (/** @type {string} */ name) => import(name);
    const [{ createElement, useEffect }, { createRoot }, { useConnectorOAuthConnect }] = await Promise.all(
      ['react', 'react-dom/client', '@valetkey/client/react'].map(load),
    );
    const calls = /** @type {string[]} */ ([]);
    const root = createRoot(document.body.appendChild(document.createElement('div')));
    function Gone() {
      const { connect } = useConnectorOAuthConnect({
        connectorId: 'account',
        basePath: '/api/valetkey',
        redirectMode: 'new_tab',
        onSuccess: () => calls.push('success'),
        onError: () => calls.push('error'),
      });
      useEffect(() => connect(), [connect]);
      return null;
    }
    root.render(createElement(Gone));
    return { calls, root };
  });
  const window = await opened;
  await expect(window.getByRole('link', { name: 'Continue' })).toBeVisible();
  await parts.evaluate(({ root }) => root.unmount());
  const closed = window.waitForEvent('close');
  await finish(window);
  await closed;
  expect(await stage.valetkey.standing('account', 'guest-1')).toBe('connected');
  expect(await parts.evaluate(({ calls }) => calls)).toEqual([]);
});
