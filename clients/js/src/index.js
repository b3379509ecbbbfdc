// Connects accounts with valetkey from a web page. See README.md for what the server behind `basePath` has to do.
//
// The rules that everything here follows:
// - The server decides. A message from another tab only counts if it names the flow that was started here, by something
//   that a page which did not start it cannot know; a window that is gone is a reason to ask the server.
// - The provider's pages get no way back to this page: the window is disowned before it leaves.
// - A promise settles once, and then nothing of it is left: no timer, no channel, no listener.

const CHANNEL = 'oauth_flow_completed';
const STARTED = 'valetkey.started';
const TIMEOUT = 600_000;
const ASK_EVERY = 3_000;
const LOOK_EVERY = 250;
/** How long a message may still be under way when the window is gone already. */
const GRACE = 500;

/** Why an account was not connected. `code` is one of the library's own or the server's; `message` is for people. */
export class ConnectError extends Error {
  /** @param {string} code @param {string} message @param {number} [statusCode] */
  constructor(code, message, statusCode) {
    super(message);
    this.name = 'ConnectError';
    this.code = code;
    this.statusCode = statusCode;
  }
}

/** The flows that this page waits for, by connector and connection. @type {Map<string, import('./index.js').Flow>} */
const flows = new Map();
/** States of flows whose window is gone; they end when the next one begins. @type {Map<string, string>} */
const abandoned = new Map();

/** @param {import('./index.js').Target} target */
const keyOf = ({ basePath, connectorId, connection }) => JSON.stringify([basePath, connectorId, connection]);

/**
 * Asks the server.
 * @param {import('./index.js').Transport} transport @param {string} path @param {unknown} [body] @returns {Promise<any>}
 */
async function post({ basePath = '/api/actions', fetch: send = fetch, headers }, path, body) {
  let answer;
  try {
    answer = await send(basePath + path, {
      method: 'POST',
      credentials: 'same-origin',
      headers: { accept: 'application/json', 'content-type': 'application/json', 'kbn-xsrf': 'true', ...headers },
      body: body && JSON.stringify(body),
    });
  } catch (cause) {
    throw Object.assign(new ConnectError('network', 'The server cannot be reached'), { cause });
  }
  const value = await answer.json().catch(() => undefined);
  if (answer.ok) return value;
  throw new ConnectError(value?.code ?? 'http', value?.message ?? `The server answered ${answer.status}`, answer.status);
}

/** @param {import('./index.js').Target} target @param {string} action @param {unknown} [body] */
const act = (target, action, body) => post(target, `/connector/${encodeURIComponent(target.connectorId)}/${action}`, body);

/** How the person stands with the connector; nothing if that cannot be found out now. @param {import('./index.js').Target} target */
async function standing(target) {
  // The standing is that of the default connection.
  if (target.connection && target.connection !== 'default') return undefined;
  try {
    const id = target.connectorId;
    return (await post(target, '/connectors/_me/auth_status', { connectorIds: [id] }))?.[id]?.user_auth_status;
  } catch {
    // A message or the window will tell; the next question may be answered.
    return undefined;
  }
}

/** Ends a flow at the server. What is not ended expires; nobody waits for this. @param {import('./index.js').Target} target @param {string} state */
const discard = (target, state) => act(target, '_oauth_cancel', { state }).catch(() => {});

/**
 * What names a flow in messages: 128 bits of the hash of its state. Without a secure context browsers cannot say.
 * @param {string} state
 */
async function fingerprint(state) {
  const hash = await globalThis.crypto?.subtle?.digest('SHA-256', new TextEncoder().encode(state));
  return hash && btoa(String.fromCharCode(...new Uint8Array(hash, 0, 16))).replace(/\+/g, '-').replace(/\//g, '_').slice(0, 22);
}

/** @param {string} url @param {boolean} isWindow */
function returnTo(url, isWindow) {
  const there = new URL(url, location.href);
  if (isWindow) there.searchParams.set('auto_close', 'true');
  return there.href;
}

/** Only an address of the web: anything else would run here. @param {string} url */
function checked(url) {
  const { protocol, href } = new URL(url);
  if (protocol !== 'https:' && protocol !== 'http:') throw new ConnectError('bad_answer', 'The server answered with an unusable address');
  return href;
}

/** The window, opened while the click is handled: later, browsers block it. */
function openWindow() {
  const opened = open('', '_blank');
  // The handle stays ours, but nobody in there has one of us.
  if (opened) opened.opener = null;
  return opened;
}

/** @type {typeof import('./index.js').begin} */
export function begin(options) {
  const key = keyOf(options);
  const other = flows.get(key);
  // The second half of a double click.
  if (other?.isStarting) return other;
  other?.cancel();

  const { signal } = options;
  const isWindow = options.mode === 'new_tab';
  const target = isWindow && !signal?.aborted ? openWindow() : undefined;
  /** @type {string | undefined} */
  let state;
  let isOver = false;
  /** Whether the window has left for another site, whose pages are not ours to close. */
  let isAway = false;
  /** @type {Array<() => void>} */
  const cleanup = [];
  /** @type {(result: import('./index.js').Connected) => void} */
  let resolve;
  /** @type {(error: unknown) => void} */
  let reject;

  const end = () => {
    if (isOver) return false;
    isOver = true;
    flow.isStarting = false;
    if (flows.get(key) === flow) flows.delete(key);
    cleanup.forEach((undo) => undo());
    return true;
  };
  const succeed = () => end() && resolve({ connectorId: options.connectorId });
  /** Whether that was the end of it. @param {unknown} error */
  const fail = (error) => {
    const isEnd = end();
    if (isEnd) reject(error);
    return isEnd;
  };
  /** @param {unknown} [reason] */
  const cancel = (reason = new ConnectError('cancelled', 'Connecting was cancelled')) => {
    if (!fail(reason)) return Promise.resolve();
    if (!isAway) target?.close();
    return state ? discard(options, state) : Promise.resolve();
  };

  /** @type {import('./index.js').Flow} */
  const flow = {
    isStarting: true,
    finished: new Promise((yes, no) => {
      resolve = yes;
      reject = no;
    }),
    cancel: () => cancel(),
    leave: () => void end(),
  };
  if (signal?.aborted) fail(signal.reason);
  else if (isWindow && !target) {
    fail(new ConnectError('window_blocked', 'The browser blocked the window: allow this site to open windows, then try again'));
  } else {
    flows.set(key, flow);
    const aborted = () => void cancel(signal?.reason);
    signal?.addEventListener('abort', aborted);
    cleanup.push(() => signal?.removeEventListener('abort', aborted));
    start().catch((error) => {
      target?.close();
      fail(error);
    });
  }
  return flow;

  async function start() {
    const { returnUrl, connection, scopes, confirm, allowAccountChange, acrValues, maxAge } = options;
    const body = { returnUrl: returnUrl && returnTo(returnUrl, isWindow), connection, scopes, confirm, allowAccountChange, acrValues, maxAge };
    const before = abandoned.get(key);
    abandoned.delete(key);
    if (before) await discard(options, before);
    const [answer, stood] = await Promise.all([act(options, '_start_oauth_flow', body), isWindow && standing(options)]);
    if (isOver) return void discard(options, answer.state);
    state = answer.state;
    const print = await fingerprint(answer.state);
    const url = checked(answer.authorizationUrl);
    if (isOver) return;
    flow.isStarting = false;
    options.onStarted?.({ state: answer.state, expiresAt: answer.expiresAt });
    if (!isWindow) return depart(url, print);
    if (target?.closed) return void cancel(windowClosed());
    listen(print);
    watch(stood || undefined);
    isAway = true;
    target?.location.replace(url);
  }

  /** Leaves for the provider, in this tab. @param {string} url @param {string} [print] */
  function depart(url, print) {
    if (print) remember(print);
    /** The back button brought the page back as it was: it does not wait for anything any more. @param {PageTransitionEvent} event */
    const back = (event) => event.persisted && void cancel(new ConnectError('returned', 'Connecting was left unfinished'));
    addEventListener('pageshow', back);
    cleanup.push(() => removeEventListener('pageshow', back));
    location.assign(url);
  }

  /** Hears what the callback page, or the page of the return URL, says of this flow. @param {string} [print] */
  function listen(print) {
    if (!print || !('BroadcastChannel' in globalThis)) return;
    const channel = new BroadcastChannel(CHANNEL);
    channel.onmessage = ({ data }) => {
      if (data?.flow !== print || data.connectorId !== options.connectorId) return;
      if (data.status === 'success') succeed();
      else fail(new ConnectError('refused', String(data.error ?? 'OAuth authorization failed'), data.statusCode));
    };
    cleanup.push(() => channel.close());
  }

  /** Looks after the window, the time, and how the person stands. @param {string} [stood] how that was before */
  function watch(stood) {
    const ask = async () => {
      // Whoever was connected before stands as well when nothing happened.
      if (!stood || stood === 'connected') return;
      if ((await standing(options)) === 'connected') succeed();
    };
    let isLooking = false;
    const look = async () => {
      // A window that left our sight behind a policy of the provider's also counts as closed. But then it is in front.
      if (isLooking || !target?.closed || !document.hasFocus()) return;
      isLooking = true;
      await new Promise((resume) => setTimeout(resume, GRACE));
      if (!isOver) await ask();
      if (state && fail(windowClosed())) abandoned.set(key, state);
    };
    const intervals = [setInterval(look, LOOK_EVERY), setInterval(ask, ASK_EVERY)];
    const limit = setTimeout(() => cancel(new ConnectError('timeout', 'OAuth authorization timed out')), options.timeout ?? TIMEOUT);
    cleanup.push(() => intervals.forEach((interval) => clearInterval(interval)), () => clearTimeout(limit));
  }
}

const windowClosed = () => new ConnectError('window_closed', 'The window was closed before the account was connected');

/** @type {typeof import('./index.js').connect} */
export function connect(options) {
  return begin(options).finished;
}

/** @type {typeof import('./index.js').cancel} */
export async function cancel(options) {
  const flow = flows.get(keyOf(options));
  if (options.state) {
    flow?.leave();
    await act(options, '_oauth_cancel', { state: options.state });
  } else await flow?.cancel();
}

/** @type {typeof import('./index.js').disconnect} */
export async function disconnect(options) {
  const { connection } = options;
  await act(options, '_oauth_disconnect', connection && { connection });
}

/** Which flows this tab left for: session storage, because the page itself is gone in between. @param {string} print */
function remember(print) {
  try {
    sessionStorage.setItem(STARTED, print);
  } catch {
    // Without storage every result counts as unexpected.
  }
}

/** @param {string} [print] */
function recall(print) {
  try {
    const isOurs = Boolean(print) && sessionStorage.getItem(STARTED) === print;
    if (isOurs) sessionStorage.removeItem(STARTED);
    return isOurs;
  } catch {
    return false;
  }
}

const PARAMETERS = ['oauth_authorization', 'connector_id', 'oauth_flow', 'status_code', 'error', 'auto_close'];

/** @type {typeof import('./index.js').readRedirectResult} */
export function readRedirectResult() {
  const here = new URL(location.href);
  const [authorization, connectorId, flow, code, text, close] = PARAMETERS.map((name) => here.searchParams.get(name) ?? undefined);
  if (!authorization || !connectorId) return undefined;
  const isSuccess = authorization === 'success';
  /** @type {import('./index.js').RedirectResult} */
  const result = {
    connectorId,
    flow,
    status: isSuccess ? 'success' : 'error',
    statusCode: Number(code) || (isSuccess ? 200 : 500),
    ...(isSuccess ? {} : { error: text || 'OAuth authorization failed' }),
  };
  if ('BroadcastChannel' in globalThis) {
    const channel = new BroadcastChannel(CHANNEL);
    channel.postMessage(result);
    channel.close();
  }
  // Only what is ours goes; the rest stays as it was written.
  const rest = here.search.slice(1).split('&').filter((pair) => pair && !PARAMETERS.includes(pair.split('=', 1)[0]));
  here.search = rest.join('&');
  history.replaceState(history.state, '', here);
  if (close === 'true') globalThis.close();
  return { ...result, isExpected: recall(flow) };
}
