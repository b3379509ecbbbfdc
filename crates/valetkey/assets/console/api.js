// The HTTP API. The console knows nothing that it did not ask here.
import { useEffect, useState, useCallback } from './lib.js';
import { place, prefix } from './router.js';
import { en } from './en.js';

/** The code of a refusal because the session has ended: the sign-in page says so. */
export const ENDED = 'session_ended';

/** A refusal of the API, or that nothing was answered. */
export class ApiError extends Error {
  /** @param {{message: string, status?: number, code?: string, requestId?: string, retryAfter?: string | null}} given */
  constructor({ message, status = 0, code = '', requestId = '', retryAfter = null }) {
    super(message);
    this.status = status;
    this.code = code;
    this.requestId = requestId;
    this.retryAfter = retryAfter;
  }
}

/** Says `now` when the API answers that nobody is signed in any more, with the code. */
export const signedOut = new EventTarget();

/**
 * One request.
 * @param {string} method
 * @param {string} path from `/api`
 * @param {unknown} [body]
 * @param {{signal?: AbortSignal, query?: Record<string, unknown>, stay?: boolean}} [options] `stay`: 401 is not a sign-out
 */
export async function call(method, path, body, { signal, query, stay } = {}) {
  /** @type {Record<string, string>} */
  const headers = { accept: 'application/json' };
  if (method !== 'GET') headers['kbn-xsrf'] = 'true';
  if (body !== undefined) headers['content-type'] = 'application/json';
  const given = Object.entries(query ?? {}).filter(([, v]) => v !== undefined && v !== null && v !== '');
  const text = new URLSearchParams(given.map(([n, v]) => [n, String(v)])).toString();
  let answer;
  try {
    answer = await fetch(`${prefix(place().space)}${path}${text ? `?${text}` : ''}`, {
      method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body),
      cache: 'no-store', credentials: 'same-origin', redirect: 'error',
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new ApiError({ message: en.error.network });
  }
  const requestId = answer.headers.get('x-request-id') ?? '';
  const json = answer.status === 204 ? null : await answer.json().catch(() => null);
  if (answer.ok) return json;
  if (answer.status === 401 && !stay) {
    signedOut.dispatchEvent(new CustomEvent('now', { detail: json?.code }));
    // What was sent was not done, and is not sent again by itself: the person sees it once more, and decides.
    throw new ApiError({ message: en.error.ended, status: 401, code: ENDED, requestId });
  }
  throw new ApiError({
    message: json?.message ?? en.error.status(answer.status),
    status: answer.status, code: json?.code ?? '', requestId: json?.requestId ?? requestId,
    retryAfter: answer.headers.get('retry-after'),
  });
}

/** @param {string} path @param {Record<string, unknown>} [query] @param {AbortSignal} [signal] */
export const get = (path, query, signal) => call('GET', path, undefined, { query, signal });
/** @param {string} path @param {unknown} [body] */
export const post = (path, body = {}, signal = /** @type {AbortSignal | undefined} */ (undefined)) => call('POST', path, body, { signal });

/** How many empty pages are passed over by themselves. */
const MORE = 5;

/**
 * A page of a list, and the pages after it as long as they are empty: a filter looks at so many rows for one answer.
 * @param {string} path @param {Record<string, unknown>} query @param {string} list what the page calls its items
 * @param {AbortSignal} [signal]
 */
export async function getPage(path, query, list, signal) {
  let page = await get(path, query, signal);
  for (let more = 0; more < MORE && page.next && !page[list].length; more += 1) {
    page = await get(path, { ...query, after: page.next }, signal);
  }
  return page;
}

/**
 * What `load` brings: again when `keys` change, and when `reload` is called. A later request cancels an earlier one.
 * @template T
 * @param {(signal: AbortSignal) => Promise<T>} load
 * @param {unknown[]} keys
 */
export function useData(load, keys) {
  const [state, set] = useState({ data: /** @type {T | undefined} */ (undefined), error: null, loading: true });
  const [turn, again] = useState(0);
  useEffect(() => {
    const stop = new AbortController();
    set((old) => ({ ...old, error: null, loading: true }));
    load(stop.signal).then(
      (data) => set({ data, error: null, loading: false }),
      (error) => { if (!stop.signal.aborted) set({ data: undefined, error, loading: false }); },
    );
    return () => stop.abort();
  }, [...keys, turn]);
  return { ...state, reload: useCallback(() => again((n) => n + 1), []) };
}

/** The path of a connector in the API. @param {string} id */
export const connectorPath = (id) => `/api/actions/connector/${encodeURIComponent(id)}`;
