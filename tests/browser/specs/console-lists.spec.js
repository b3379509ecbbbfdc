// @ts-check
// Lists of the console: pages forward and back, searches, and what is said while nothing was found yet.
import { enter } from '../support/console.js';
import { expect, look, test } from '../support/test.js';

// Before the server stops, which would fail what the page still asks for.
test.afterEach(({ page }) => page.close());

const LINK = { next: 'Next page', previous: 'Previous page', first: 'First page', goOn: 'Go on searching' };

/** @param {import('@playwright/test').Page} page @param {keyof typeof LINK} name */
const link = (page, name) => page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: LINK[name], exact: true });

/** The first cell of each row. @param {import('@playwright/test').Page} page */
const firstRow = (page) => page.getByRole('table').getByRole('row').nth(1);

/** Connectors with ids `c00` and so on. @param {any} valetkey @param {number} count */
async function connectors(valetkey, count) {
  for (let number = 0; number < count; number += 1) {
    const id = `c${String(number).padStart(2, '0')}`;
    const name = number % 20 === 7 ? `Needle ${number}` : `Service ${number}`;
    await valetkey.createConnector(id, { name, connector_type_id: '.http', config: { baseUrl: 'https://api.example.com' }, secrets: { authType: 'none' } });
  }
}

test('connectors are gone through forward and back', async ({ page, stage }) => {
  await connectors(stage.valetkey, 60);
  await enter(page, stage.valetkey, stage.valetkey.adminKey, '/app/connectors');
  await expect(firstRow(page)).toContainText('c00');
  await expect(link(page, 'previous')).toHaveCount(0);
  await expect(link(page, 'first')).toHaveCount(0);
  await link(page, 'next').click();
  await expect(firstRow(page)).toContainText('c25');
  await link(page, 'next').click();
  await expect(firstRow(page)).toContainText('c50');
  await expect(link(page, 'next')).toHaveCount(0);
  await look(page, 'console-connectors-last-page');
  await page.reload();
  await link(page, 'previous').click();
  await expect(firstRow(page)).toContainText('c25');
  await link(page, 'previous').click();
  await expect(firstRow(page)).toContainText('c00');
  await expect(link(page, 'previous')).toHaveCount(0);
  await page.goBack();
  await expect(firstRow(page)).toContainText('c25');
  await expect(link(page, 'previous')).toBeVisible();
  await link(page, 'first').click();
  await expect(firstRow(page)).toContainText('c00');
});

test('an address that was sent to somebody leads to the first page, and on', async ({ page, stage }) => {
  await connectors(stage.valetkey, 60);
  await enter(page, stage.valetkey, stage.valetkey.adminKey, '/app/connectors');
  await page.goto(`${stage.valetkey.base}/app/connectors?after=c24`);
  await expect(firstRow(page)).toContainText('c25');
  await expect(link(page, 'previous')).toHaveCount(0);
  await expect(link(page, 'first')).toBeVisible();
  await link(page, 'next').click();
  await expect(firstRow(page)).toContainText('c50');
  await link(page, 'previous').click();
  await expect(firstRow(page)).toContainText('c25');
});

test('a search is a list of its own', async ({ page, stage }) => {
  await connectors(stage.valetkey, 60);
  await enter(page, stage.valetkey, stage.valetkey.adminKey, '/app/connectors');
  await link(page, 'next').click();
  await expect(firstRow(page)).toContainText('c25');
  await page.getByLabel('Name or type').fill('NEEDLE');
  await page.getByRole('button', { name: 'Search' }).click();
  await expect(firstRow(page)).toContainText('Needle 7');
  await expect(page.getByRole('table').getByRole('row')).toHaveCount(4);
  await expect(page.getByRole('navigation', { name: 'Pages' })).toHaveCount(0);
  expect(new URL(page.url()).search).toBe('?search=NEEDLE');
  await page.getByLabel('Name or type').fill('nowhere');
  await page.getByRole('button', { name: 'Search' }).click();
  await expect(page.getByRole('heading', { name: 'No connector matches' })).toBeVisible();
});

test('keys are searched, and gone through forward and back', async ({ page, stage }) => {
  for (let number = 0; number < 30; number += 1) {
    await stage.valetkey.api('/api/security/api_keys', { body: { name: `Program ${number}`, privileges: ['connectors:read'] } });
  }
  await enter(page, stage.valetkey, stage.valetkey.adminKey, '/app/keys');
  await expect(firstRow(page)).toContainText('bootstrap');
  await link(page, 'next').click();
  await expect(firstRow(page)).toContainText('Program 2');
  await expect(page.getByRole('table').getByRole('row')).toHaveCount(7);
  await look(page, 'console-keys-last-page');
  await link(page, 'previous').click();
  await expect(firstRow(page)).toContainText('bootstrap');
  await page.getByLabel('Name, ID or user').fill('program 29');
  await page.getByRole('button', { name: 'Search' }).click();
  await expect(firstRow(page)).toContainText('Program 29');
  await expect(page.getByRole('table').getByRole('row')).toHaveCount(2);
});

test('the audit log is gone through forward and back', async ({ page, stage }) => {
  await connectors(stage.valetkey, 60);
  await enter(page, stage.valetkey, stage.valetkey.adminKey, '/app/audit?type=config.change');
  await expect(firstRow(page)).toContainText('c59');
  await link(page, 'next').click();
  await expect(firstRow(page)).toContainText('c09');
  await link(page, 'previous').click();
  await expect(firstRow(page)).toContainText('c59');
});

test('a search that has found nothing so far says so, and can go on', async ({ page, stage }) => {
  await connectors(stage.valetkey, 2);
  await enter(page, stage.valetkey, stage.valetkey.adminKey, '/app/connectors');
  await expect(firstRow(page)).toContainText('c00');
  // As a store answers that has ten thousand names without a match in front of the one that matches.
  const one = (await stage.valetkey.api('/api/actions/connectors/_search?limit=1')).connectors;
  let asked = 0;
  await page.route('**/api/actions/connectors/_search?**', (route) => {
    asked += 1;
    return route.fulfill({ json: asked <= 6 ? { connectors: [], next: `n${asked}` } : { connectors: one } });
  });
  await page.getByLabel('Name or type').fill('needle');
  await page.getByRole('button', { name: 'Search' }).click();
  await expect(page.getByRole('heading', { name: 'Nothing was found so far' })).toBeVisible();
  expect(asked).toBe(6);
  await look(page, 'console-connectors-so-far');
  await link(page, 'goOn').click();
  await expect(firstRow(page)).toContainText('c00');
  expect(new URL(page.url()).searchParams.get('after')).toBe('n6');
});

// A data directory that `BENCH_KEEP=… cargo bench -p valetkey --bench lists` has filled: ten thousand connectors and a million
// connections, unless it was told otherwise. `VALETKEY_TEST_FILLED=… cargo xtask browser console-lists` then looks at it.
const FILLED = process.env.VALETKEY_TEST_FILLED;
const KEY = 'vk_bench-key-that-only-this-run-knows';

test.describe('with very many rows', () => {
  test.skip(!FILLED, 'VALETKEY_TEST_FILLED names no filled data directory');
  test.use({ settings: { DATA_DIR: FILLED ?? '', BOOTSTRAP_API_KEY: KEY } });

  test('every list comes, goes on and is searched', async ({ page, stage }) => {
    test.setTimeout(300_000);
    await enter(page, stage.valetkey, KEY, '/app/connectors');
    /** @type {[string, string][]} */
    const lists = [
      ['/connectors', 'c00000'],
      ['/connectors?search=usual', 'c00000'],
      ['/connectors?search=zebra', 'zebra'],
      ['/connections', 'Person-'],
      ['/connections?connector=c00000', 'Person-'],
      ['/connections?state=reauthorize', 'Connect again'],
      ['/connections?search=user-7', 'user-7'],
      ['/connections?search=person-77', 'Person-77'],
      ['/keys', 'Program'],
      ['/keys?search=program 42', 'Program 42'],
      ['/audit?type=session.start', 'session.start'],
    ];
    for (const [path, text] of lists) {
      const asked = Date.now();
      await page.goto(`${stage.valetkey.base}/app${path}`);
      await expect(page.getByRole('table')).toContainText(text);
      console.log(`${path}: ${Date.now() - asked} ms`);
    }
    // The audit log grows meanwhile: there is much to look after.
    for (const path of ['/connectors', '/connections', '/keys']) {
      await page.goto(`${stage.valetkey.base}/app${path}`);
      const first = await firstRow(page).textContent();
      await link(page, 'next').click();
      await expect(firstRow(page)).not.toHaveText(first ?? '');
      await link(page, 'previous').click();
      await expect(firstRow(page)).toHaveText(first ?? '');
    }
  });
});
