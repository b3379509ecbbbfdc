// Every state of the console is a URL: `/app/<path>?<query>`, below `/s/<space>` for every space but the default one.
import { useEffect, useState } from './lib.js';

/** Where the console is now. */
export function place() {
  const match = /^(?:\/s\/([^/]+))?\/app(\/.*)?$/.exec(location.pathname);
  const path = (match?.[2] ?? '/').replace(/\/+$/, '') || '/';
  return { space: match?.[1] ?? 'default', path, query: Object.fromEntries(new URLSearchParams(location.search)) };
}

/** @param {string} space */
export const prefix = (space) => (space === 'default' ? '' : `/s/${encodeURIComponent(space)}`);

/**
 * The address of a state.
 * @param {string} path
 * @param {Record<string, unknown>} [query] empty values are left out
 * @param {string} [space]
 */
export function href(path, query = {}, space = place().space) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== '');
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return `${prefix(space)}/app${path === '/' ? '' : path}${text ? `?${text}` : ''}`;
}

const moved = new EventTarget();

/**
 * Goes to an address of the console.
 * @param {string} to from `href`
 * @param {boolean} [replace]
 * @param {string[]} [trail] where the pages began that lead to this one
 */
export function go(to, replace = false, trail = []) {
  const state = trail.length ? { trail } : null;
  if (replace) history.replaceState(state, '', to);
  else history.pushState(state, '', to);
  moved.dispatchEvent(new Event('move'));
}

/**
 * Where the pages of a list began that were gone through to this one, the first being ''. It is known only to this tab, for a
 * cursor leads forward alone: whoever is sent an address can go to the first page and on from there.
 * @returns {string[]}
 */
export const trail = () => history.state?.trail ?? [];

/** The place, and a redraw when it changes. */
export function usePlace() {
  const [now, set] = useState(place);
  useEffect(() => {
    const update = () => set(place());
    moved.addEventListener('move', update);
    addEventListener('popstate', update);
    return () => { moved.removeEventListener('move', update); removeEventListener('popstate', update); };
  }, []);
  return now;
}

/** Links within the console change the state instead of loading the document again. */
export function followLinks() {
  document.addEventListener('click', (event) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.target instanceof Element ? event.target.closest('a[href]') : null;
    if (!(link instanceof HTMLAnchorElement) || link.target || link.hasAttribute('download') || link.origin !== location.origin) return;
    if (!/^(\/s\/[^/]+)?\/app(\/|$)/.test(link.pathname) || link.getAttribute('href')?.startsWith('#')) return;
    event.preventDefault();
    go(link.pathname + link.search);
  });
}

/**
 * Whether a path fits a pattern such as `/connectors/:id`; its parts if so.
 * @param {string} pattern
 * @param {string} path
 */
export function match(pattern, path) {
  const want = pattern.split('/');
  const have = path.split('/');
  if (want.length !== have.length) return null;
  /** @type {Record<string, string>} */
  const parts = {};
  for (const [at, piece] of want.entries()) {
    if (piece.startsWith(':')) {
      try { parts[piece.slice(1)] = decodeURIComponent(have[at]); } catch { return null; }
    } else if (piece !== have[at]) return null;
  }
  return parts;
}
