// Connecting an account: leaving for the provider, and what this tab knows when it comes back.
import { connectorPath, post } from './api.js';
import { place } from './router.js';

const PENDING = 'valetkey-flow';

/**
 * What names a flow in the return URL: 128 bits of the hash of its state. Browsers cannot say without a secure context.
 * @param {string} state
 */
async function fingerprint(state) {
  const hash = await globalThis.crypto.subtle?.digest('SHA-256', new TextEncoder().encode(state));
  return hash && btoa(String.fromCharCode(...new Uint8Array(hash, 0, 16))).replaceAll('+', '-').replaceAll('/', '_').slice(0, 22);
}

/**
 * Leaves for the provider to connect an account, and comes back to `back`.
 * @param {string} id @param {string} back @param {Record<string, unknown>} [more]
 */
export async function authorize(id, back, more = {}) {
  const started = await post(`${connectorPath(id)}/_start_oauth_flow`, { returnUrl: location.origin + back, ...more });
  // What comes back in the address is believed in this tab only, and only while a flow that began here is under way.
  const until = Date.parse(started.expiresAt) + 60_000;
  sessionStorage.setItem(PENDING, JSON.stringify({ id, back, flow: await fingerprint(started.state), until }));
  location.assign(started.authorizationUrl);
  return new Promise(() => {});
}

/** The note of the flow that this tab left for, if it can still be under way. It is taken once. */
function taken() {
  /** @type {any} */
  let pending = null;
  try { pending = JSON.parse(sessionStorage.getItem(PENDING) ?? 'null'); } catch { /* nothing that we wrote */ }
  sessionStorage.removeItem(PENDING);
  return pending && pending.until > Date.now() ? pending : null;
}

/** How a flow that this tab began ended; nothing for addresses that somebody else made. The address is cleaned in any case. */
export function flowResult() {
  const query = new URLSearchParams(location.search);
  const result = query.get('oauth_authorization');
  if (!result) return null;
  const id = query.get('connector_id');
  const flow = query.get('oauth_flow');
  const error = query.get('error');
  const status = query.get('status_code');
  for (const name of ['oauth_authorization', 'connector_id', 'oauth_flow', 'status_code', 'error', 'auto_close']) query.delete(name);
  const rest = query.toString();
  history.replaceState(null, '', location.pathname + (rest ? `?${rest}` : ''));
  const pending = taken();
  if (!pending || pending.id !== id || (pending.flow && pending.flow !== flow)) return null;
  return { ok: result === 'success', error, status };
}

/**
 * Where in the console the flow was begun that this tab comes back from without an answer: its end was a page of its own,
 * which has a link to the console's front door.
 */
export function flowBegan() {
  if (place().path !== '/') return null;
  const back = taken()?.back;
  return typeof back === 'string' && /^(\/s\/[^/]+)?\/app\//.test(back) ? back : null;
}
