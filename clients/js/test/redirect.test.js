import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { disconnect, readRedirectResult } from '../src/index.js';
import { fakePage, fakeServer } from './fake.js';

let page;
afterEach(() => page.end());

const at = (search) => {
  page = fakePage({ href: `https://app.example.com/page?${search}#here` });
};

/** What other tabs hear. */
async function heard(act) {
  const channel = new BroadcastChannel('oauth_flow_completed');
  const message = new Promise((resolve) => {
    channel.onmessage = ({ data }) => resolve(data);
  });
  act();
  const data = await message;
  channel.close();
  return data;
}

test('a page without a result is left alone', () => {
  for (const search of ['a=b', 'oauth_authorization=success', 'connector_id=c']) {
    at(search);
    assert.equal(readRedirectResult(), undefined);
    assert.deepEqual([page.replaced, page.closed], [[], 0]);
    page.end();
  }
  at('');
});

test('a success is told to other tabs, and leaves the address as it was', async () => {
  at('tab=a%20b&oauth_authorization=success&connector_id=c&oauth_flow=f&status_code=200&empty');
  let result;
  const message = await heard(() => {
    result = readRedirectResult();
  });
  assert.deepEqual(result, { connectorId: 'c', flow: 'f', status: 'success', statusCode: 200, isExpected: false });
  assert.deepEqual(message, { connectorId: 'c', flow: 'f', status: 'success', statusCode: 200 });
  assert.deepEqual(page.replaced, [[{ kept: true }, 'https://app.example.com/page?tab=a%20b&empty#here']]);
  assert.equal(page.closed, 0);
});

test('a window that was opened for the flow is closed', () => {
  at('oauth_authorization=success&connector_id=c&auto_close=true');
  readRedirectResult();
  assert.equal(page.closed, 1);
});

test('a failure has words and a status, whatever was sent', () => {
  at('oauth_authorization=error&connector_id=c&error=not%20granted&status_code=403');
  const told = readRedirectResult();
  assert.deepEqual([told.status, told.statusCode, told.error], ['error', 403, 'not granted']);
  page.end();
  at('oauth_authorization=error&connector_id=c&status_code=x');
  const bare = readRedirectResult();
  assert.deepEqual([bare.statusCode, bare.error], [500, 'OAuth authorization failed']);
});

test('f08 a result is expected only in the tab that left for it, and once', () => {
  const search = 'oauth_authorization=success&connector_id=c&oauth_flow=f';
  at(search);
  page.session.set('valetkey.started', 'f');
  assert.equal(readRedirectResult().isExpected, true);
  assert.equal(readRedirectResult().isExpected, false);
  page.session.set('valetkey.started', 'another');
  assert.equal(readRedirectResult().isExpected, false);
});

test('disconnecting names the account only if there are several', async () => {
  at('');
  const server = fakeServer({});
  await disconnect({ connectorId: 'a/b', basePath: '/x', fetch: server.fetch });
  await disconnect({ connectorId: 'a/b', basePath: '/x', fetch: server.fetch, connection: 'work', headers: { 'x-csrf': 't' } });
  assert.deepEqual(
    server.requests.map((r) => [r.url, r.body]),
    [
      ['/x/connector/a%2Fb/_oauth_disconnect', undefined],
      ['/x/connector/a%2Fb/_oauth_disconnect', { connection: 'work' }],
    ],
  );
  assert.equal(server.requests[1].headers['x-csrf'], 't');
});
