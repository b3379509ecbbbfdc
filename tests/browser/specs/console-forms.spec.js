// @ts-check
// Forms from schemas: another way to authenticate, values that are chosen instead of typed, and what is sent of them.
import { enter, personKey } from '../support/console.js';
import { expect, look, test } from '../support/test.js';

// Before the server stops, which would fail what the page still asks for.
test.afterEach(({ page }) => page.close());

const PATH = '/api/actions/connector/account';

test('a connector is given another way to authenticate, and the first one back', async ({ page, stage }) => {
  await stage.connector();
  await enter(page, stage.valetkey, await personKey(stage.valetkey), '/app/connectors/account/edit');
  await page.getByLabel('Method').selectOption('bearer');
  await expect(page.getByText('Accounts that were connected by OAuth are not used with another method.')).toBeVisible();
  await expect(page.getByLabel('Client ID')).toHaveCount(0);
  // A secret of another method is none that could be kept.
  await expect(page.getByLabel(/^Token/)).toHaveAttribute('required', '');
  await look(page, 'console-edit-other-method');
  await page.getByLabel(/^Token/).fill('a-token');
  await page.getByRole('button', { name: 'Save changes' }).click();
  await expect(page.getByText('Changes saved')).toBeVisible();
  expect((await stage.valetkey.api(PATH)).auth_type).toBe('bearer');
  await expect(page.getByLabel(/^Token/)).toHaveValue('');

  await page.getByLabel('Method').selectOption('oauth_authorization_code');
  const { secrets } = stage.provider.connector();
  await page.getByLabel(/^Authorization URL/).fill(secrets.authorizationUrl);
  await page.getByLabel(/^Token URL/).fill(secrets.tokenUrl);
  await page.getByLabel('Client ID').fill(secrets.clientId);
  await page.getByLabel(/^Client secret/).fill(String(secrets.clientSecret));
  await page.getByRole('button', { name: 'Save changes' }).click();
  await expect.poll(async () => (await stage.valetkey.api(PATH)).auth_type).toBe('oauth_authorization_code');
  expect(await stage.valetkey.api(PATH)).toMatchObject({ auth_type: 'oauth_authorization_code', auth_mode: 'per-user', is_missing_secrets: false });
});

test('how refresh tokens rotate is chosen, or said in JSON', async ({ page, stage }) => {
  await stage.connector();
  await enter(page, stage.valetkey, await personKey(stage.valetkey), '/app/connectors/account/edit');
  const rotation = page.getByLabel('Rotation of refresh tokens', { exact: false }).first();
  const save = async () => {
    await page.getByRole('button', { name: 'Save changes' }).click();
    await expect(page.getByText('Changes saved').last()).toBeVisible();
    return (await stage.valetkey.api(PATH)).auth.rotation;
  };
  await page.getByText('More settings').click();
  await expect(rotation.getByRole('option')).toHaveText(['Not set', 'none', 'overlap', 'idempotent', 'single_use', 'single_use_revokes_family', 'Something else']);
  await rotation.selectOption('single_use_revokes_family');
  await look(page, 'console-edit-rotation');
  expect(await save()).toBe('single_use_revokes_family');

  await page.getByRole('button', { name: 'Dismiss' }).click();
  await page.getByText('More settings').click();
  await expect(rotation).toHaveValue('single_use_revokes_family');
  await rotation.selectOption('Something else');
  await page.getByLabel('Rotation of refresh tokens: A JSON value.').fill('{"leeway_s": 600}');
  await look(page, 'console-edit-rotation-other');
  expect(await save()).toEqual({ leeway_s: 600 });
  await page.getByText('More settings').click();
  await expect(page.getByLabel('Rotation of refresh tokens: A JSON value.')).toHaveValue(/"leeway_s": 600/);
});

test('several of the values that a schema names are ticked', async ({ page, stage }) => {
  await stage.valetkey.createConnector('chat', { name: 'Chat', connector_type_id: '.slack2', config: {}, secrets: { authType: 'bearer', token: 'xoxb-nothing-of-worth' } });
  await enter(page, stage.valetkey, await personKey(stage.valetkey), '/app/connectors/chat/run?action=listChannels');
  const types = page.getByRole('group', { name: /^Types/ });
  await types.getByLabel('public_channel').check();
  await types.getByLabel('im', { exact: true }).check();
  await types.getByLabel('public_channel').uncheck();
  await look(page, 'console-run-some');
  await page.getByRole('button', { name: 'Run' }).click();
  await expect(page.getByRole('region', { name: 'Request', exact: true })).toContainText(/"types": \[\s*"im"\s*\]/);
});
