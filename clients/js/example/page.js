// The library without a framework.
import { cancel, connect, disconnect, readRedirectResult } from '@valetkey/client';

const account = { connectorId: document.body.dataset.connector, basePath: '/api/valetkey' };
/** @param {string} id */
const element = (id) => document.getElementById(id);
const search = new URLSearchParams(location.search);

/** @param {string} text */
function say(text) {
  element('status').textContent = text;
}

/** What the server says, whatever a message or an address says. */
async function show() {
  const attempt = attempts;
  const answer = await fetch('/api/valetkey/connectors/_me/auth_status', {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'kbn-xsrf': 'true' },
    body: JSON.stringify({ connectorIds: [account.connectorId] }),
  });
  const standing = (await answer.json())[account.connectorId]?.user_auth_status;
  if (attempt === attempts) say(standing === 'connected' ? 'Connected' : 'Not connected');
}

/** Counts the attempts, so that a slow answer does not talk over a later one. */
let attempts = 0;

/** @param {'new_tab' | 'redirect'} mode @param {string | undefined} returnUrl */
async function start(mode, returnUrl) {
  attempts += 1;
  say('Waiting for you to finish at the provider');
  element('cancel').disabled = false;
  try {
    await connect({ ...account, mode, returnUrl });
    await show();
  } catch (error) {
    say(`Not connected: ${error.message}`);
  } finally {
    element('cancel').disabled = true;
  }
}

// `?return=none`: valetkey's own page is the last one, and the library finds out by asking.
const windowReturn = search.get('return') === 'none' ? undefined : `${location.origin}${search.get('return') ?? '/return'}`;
element('window').addEventListener('click', () => start('new_tab', windowReturn));
element('tab').addEventListener('click', () => start('redirect', search.get('return') ?? `${location.origin}/`));
element('cancel').addEventListener('click', () => cancel(account));
element('disconnect').addEventListener('click', async () => {
  try {
    await disconnect(account);
    await show();
  } catch (error) {
    say(error.message);
  }
});

const result = readRedirectResult();
if (result?.status === 'error') say(`Not connected: ${result.error}`);
else await show();
