import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { ConnectError, begin, cancel, connect } from '../src/index.js';
import { fakePage, fakeServer, settle } from './fake.js';

const STATE = 'a-state';
const FLOW = createHash('sha256').update(STATE).digest().subarray(0, 16).toString('base64url');
const STARTED = { body: { authorizationUrl: 'https://valetkey.example/connect/t', state: STATE, expiresAt: '2030-01-01T00:00:00Z' } };
const standing = (how) => ({ body: { c: { user_auth_status: how } } });

let page;
let count = 0;
beforeEach(() => {
  page = fakePage();
});
afterEach(() => page.end());

/** Options of a test's own: what a page waits for is remembered by connector. */
function stage(answers = {}, options = {}) {
  const server = fakeServer({ _start_oauth_flow: STARTED, auth_status: standing('not_connected'), ...answers });
  count += 1;
  return { server, options: { connectorId: 'c', mode: 'new_tab', basePath: `/api/${count}`, fetch: server.fetch, ...options } };
}

/** @param {Promise<unknown>} promise */
const outcome = (promise) => promise.then((value) => ({ value }), (error) => ({ error, code: error.code, message: error.message }));

async function say(message) {
  const channel = new BroadcastChannel('oauth_flow_completed');
  channel.postMessage(message);
  await settle();
  channel.close();
}

test('the window is opened during the click, disowned, and sent on when the server has answered', async () => {
  const { server, options } = stage();
  const flow = begin(options);
  assert.equal(page.opened.length, 1, 'before anything is awaited');
  assert.deepEqual([page.opened[0].url, page.opened[0].target, page.opened[0].opener], ['', '_blank', null]);
  await settle();
  assert.equal(page.opened[0].url, STARTED.body.authorizationUrl);
  const [start] = server.asked('_start_oauth_flow');
  assert.match(start.url, /\/connector\/c\/_start_oauth_flow$/);
  assert.equal(start.headers['kbn-xsrf'], 'true');
  flow.leave();
});

test('f08 only a message that names the flow counts', async () => {
  const { options } = stage();
  const result = outcome(connect(options));
  await settle();
  const message = { connectorId: 'c', status: 'error', statusCode: 403, error: 'forged' };
  await say(message);
  await say({ ...message, flow: 'x'.repeat(22) });
  await say({ ...message, flow: FLOW, connectorId: 'other' });
  await say(null);
  await say({ connectorId: 'c', flow: FLOW, status: 'success', statusCode: 200 });
  assert.deepEqual(await result, { value: { connectorId: 'c' } });
});

test('a refusal is told in the words of the message', async () => {
  const { options } = stage();
  const result = outcome(connect(options));
  await settle();
  await say({ connectorId: 'c', flow: FLOW, status: 'error', statusCode: 403, error: 'access was not granted' });
  const { error } = await result;
  assert.ok(error instanceof ConnectError);
  assert.deepEqual([error.code, error.message, error.statusCode], ['refused', 'access was not granted', 403]);
});

test('the words of the server are told when it refuses to start, and the window is closed', async () => {
  const refusal = { status: 400, body: { statusCode: 400, code: 'return_url_not_allowed', message: 'not there' } };
  const { options } = stage({ _start_oauth_flow: refusal }, { returnUrl: 'https://evil.example/' });
  const { error } = await outcome(connect(options));
  assert.deepEqual([error.code, error.message, error.statusCode], ['return_url_not_allowed', 'not there', 400]);
  assert.ok(page.opened[0].closed);
});

test('a server that cannot be reached is an error of its own', async () => {
  const { options } = stage({ _start_oauth_flow: [undefined] });
  assert.equal((await outcome(connect(options))).code, 'network');
});

test('an address that is not one of the web is never opened', async () => {
  const { options } = stage({ _start_oauth_flow: { body: { ...STARTED.body, authorizationUrl: 'javascript:alert(1)' } } });
  assert.equal((await outcome(connect(options))).code, 'bad_answer');
  assert.equal(page.opened[0].url, '');
});

test('a blocked window is noticed before anything is started', async () => {
  page.end();
  page = fakePage({ blocks: true });
  const { server, options } = stage();
  assert.equal((await outcome(connect(options))).code, 'window_blocked');
  assert.deepEqual(server.requests, []);
});

test('a closed window is noticed, and its flow ends when the next one begins', async () => {
  const { server, options } = stage();
  const result = outcome(connect(options));
  await settle();
  page.opened[0].close();
  mock.timers.tick(250);
  mock.timers.tick(500);
  assert.equal((await result).code, 'window_closed');
  assert.equal(server.asked('_oauth_cancel').length, 0);
  const next = begin(options);
  await settle();
  assert.deepEqual(server.asked('_oauth_cancel').map((r) => r.body), [{ state: STATE }]);
  assert.equal(server.requests.at(-3).name, '_oauth_cancel', 'before the start');
  next.leave();
});

test('a window that closes because all is done is a success, though no message came', async () => {
  const { options } = stage({ auth_status: [standing('not_connected'), standing('connected')] });
  const result = outcome(connect(options));
  await settle();
  page.opened[0].close();
  mock.timers.tick(250);
  mock.timers.tick(500);
  assert.deepEqual(await result, { value: { connectorId: 'c' } });
});

test('a window that only left our sight is not taken for a closed one', async () => {
  const { options } = stage();
  const result = outcome(connect(options));
  await settle();
  page.hasFocus = false;
  page.opened[0].closed = true;
  mock.timers.tick(2_000);
  await settle();
  await say({ connectorId: 'c', flow: FLOW, status: 'success', statusCode: 200 });
  assert.deepEqual(await result, { value: { connectorId: 'c' } });
});

test('without a message the server is asked until the account is connected', async () => {
  const { server, options } = stage({ auth_status: [standing('reauthorize'), standing('reauthorize'), standing('connected')] });
  const result = outcome(connect(options));
  await settle();
  mock.timers.tick(3_000);
  await settle();
  mock.timers.tick(3_000);
  assert.deepEqual(await result, { value: { connectorId: 'c' } });
  assert.equal(server.asked('auth_status').length, 3);
});

test('whoever is connected already must hear it from the flow', async () => {
  const { server, options } = stage({ auth_status: standing('connected') });
  const flow = begin(options);
  await settle();
  mock.timers.tick(9_000);
  await settle();
  assert.equal(server.asked('auth_status').length, 1);
  flow.leave();
});

test('after ten minutes it is over, and the flow is cancelled', async () => {
  const { server, options } = stage();
  const result = outcome(connect(options));
  await settle();
  mock.timers.tick(599_999);
  await settle();
  mock.timers.tick(1);
  assert.equal((await result).message, 'OAuth authorization timed out');
  await settle();
  assert.equal(server.asked('_oauth_cancel').length, 1);
});

test('a signal cancels the flow once, with its own reason', async () => {
  const { server, options } = stage();
  const controller = new AbortController();
  const result = outcome(connect({ ...options, signal: controller.signal }));
  await settle();
  controller.abort(new Error('enough'));
  await cancel(options);
  assert.equal((await result).message, 'enough');
  assert.deepEqual(server.asked('_oauth_cancel').map((r) => r.body), [{ state: STATE }]);
});

test('a signal that was given before opens nothing', async () => {
  const { server, options } = stage();
  const { error } = await outcome(connect({ ...options, signal: AbortSignal.abort() }));
  assert.equal(error.name, 'AbortError');
  assert.deepEqual([page.opened, server.requests], [[], []]);
});

test('cancelling while the server has not answered ends the flow as soon as it is known', async () => {
  const { server, options } = stage();
  const result = outcome(connect(options));
  await cancel(options);
  assert.equal((await result).code, 'cancelled');
  await settle();
  assert.equal(server.asked('_oauth_cancel').length, 1);
  assert.ok(page.opened[0].closed);
});

test('f11 the second half of a double click gets the same flow', async () => {
  const { server, options } = stage();
  const [first, second] = [begin(options), begin(options)];
  assert.equal(first, second);
  await settle();
  assert.equal(server.asked('_start_oauth_flow').length, 1);
  first.leave();
});

test('a new flow takes the place of one that is under way', async () => {
  const { server, options } = stage();
  const first = outcome(connect(options));
  await settle();
  const second = begin(options);
  assert.equal((await first).code, 'cancelled');
  await settle();
  assert.equal(server.asked('_oauth_cancel').length, 1);
  second.leave();
});

test('the return URL of a window says that it closes, and other parameters stay', async () => {
  const { server, options } = stage({}, { returnUrl: 'https://app.example.com/back?tab=1#here', scopes: ['read'] });
  const flow = begin(options);
  await settle();
  assert.deepEqual(server.asked('_start_oauth_flow')[0].body, {
    returnUrl: 'https://app.example.com/back?tab=1&auto_close=true#here',
    scopes: ['read'],
  });
  flow.leave();
});

test('in this tab the page is left, and the flow is recognised afterwards', async () => {
  const { server, options } = stage({}, { mode: undefined, returnUrl: 'https://app.example.com/back' });
  const flow = begin(options);
  await settle();
  assert.deepEqual(page.assigned, [STARTED.body.authorizationUrl]);
  assert.deepEqual(server.asked('_start_oauth_flow')[0].body, { returnUrl: 'https://app.example.com/back' });
  assert.equal(page.session.get('valetkey.started'), FLOW);
  assert.equal(page.opened.length, 0);
  flow.leave();
});

test('f11 the back button ends a flow for which this tab was left', async () => {
  const { server, options } = stage({}, { mode: 'redirect' });
  const result = outcome(connect(options));
  await settle();
  page.dispatch('pageshow', { persisted: false });
  page.dispatch('pageshow', { persisted: true });
  assert.equal((await result).code, 'returned');
  await settle();
  assert.equal(server.asked('_oauth_cancel').length, 1);
  assert.deepEqual(page.listeners.get('pageshow'), []);
});
