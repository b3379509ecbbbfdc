// Who is signed in, what that allows, and how every tab learns that it changed.
import { createContext, useCallback, useContext, useEffect, useRef, useState } from './lib.js';
import { en } from './en.js';
import { call, signedOut } from './api.js';
import { toast } from './toasts.js';
import { shown } from './text.js';

/** @typedef {{signed_in: boolean, name?: string, profile_uid?: string | null, privileges?: string[], spaces?: string[], expires_at?: string, methods?: {oidc?: null | {name: string}}}} Session */
/** @typedef {'' | 'ended' | 'out' | 'away' | 'revoked'} Why nobody is signed in: it ended, another tab signed out, it ended at a provider, or the identity provider ended it */
/** @typedef {{session: Session | null, kept: Session | null, why: Why, error: any}} State `kept`: whose input is still there */

export const SessionContext = createContext(/** @type {Session} */ ({ signed_in: false }));

/** The session with a question that pages ask. Only what is shown depends on it; the API decides for itself. */
export function useSession() {
  const session = useContext(SessionContext);
  const privileges = session.privileges ?? [];
  return { ...session, can: (/** @type {string} */ privilege) => privileges.includes('admin') || privileges.includes(privilege) };
}

/** Tells whether two sessions are one person's with the same rights. @param {Session} session */
export const personOf = ({ name, profile_uid: user, privileges, spaces }) => JSON.stringify([name, user, privileges, spaces]);

const tabs = new BroadcastChannel('valetkey-session');
/** Tells the other tabs that somebody signed in or out here. @param {'in' | 'out'} what */
export const tellTabs = (what) => tabs.postMessage(what);

// Input that was typed and not saved.
document.addEventListener('input', ({ target }) => {
  const form = target instanceof Element ? target.closest('.frame form:not([role=search], .space)') : null;
  form?.setAttribute('data-unsaved', '');
});
/** Whether there is something on the page that would be lost with it. */
const hasUnsaved = () => document.querySelector('[data-unsaved]') !== null;

/**
 * What becomes of a state when it turns out who is signed in.
 * @param {State} old @param {Session} session @param {Why} why @returns {State}
 */
function settled(old, session, why) {
  if (session.signed_in) return { session, kept: null, why: '', error: null };
  const before = old.session?.signed_in ? old.session : null;
  // Of several requests that were under way, one alone was told.
  if (!before) return { ...old, session, why: why === 'revoked' ? why : old.why, error: null };
  // Whoever signs out wants nothing to stay.
  return { session, kept: why !== 'out' && hasUnsaved() ? before : null, why, error: null };
}

/** The longest time that browsers wait for. */
const LONGEST = 2 ** 31 - 1;

/**
 * Who is signed in, asked at the start and whenever that may have changed: the API refused, another tab says so, somebody
 * comes back to this tab, or the session should be over. Asking is no use of a session.
 * @param {Why} why what is known at the start, should nobody be signed in
 */
export function useLiveSession(why) {
  const [state, set] = useState(/** @type {State} */ ({ session: null, kept: null, why, error: null }));
  const enter = useCallback((/** @type {Session} */ session, /** @type {Why} */ reason = 'ended') => set((old) => settled(old, session, reason)), []);
  const look = useCallback((/** @type {Why} */ reason) => call('GET', '/api/session', undefined, { stay: true }).then(
    (session) => { enter(session, reason); return session; },
    (error) => { set((old) => (old.session ? old : { ...old, error })); return null; },
  ), []);
  useEffect(() => {
    look('ended').then((session) => { if (session?.signed_in) tellTabs('in'); });
    const again = () => { if (document.visibilityState === 'visible') look('ended'); };
    tabs.onmessage = ({ data }) => look(data === 'out' ? 'out' : 'ended');
    const refused = (/** @type {Event} */ event) => look(event instanceof CustomEvent && event.detail === 'session_revoked' ? 'revoked' : 'ended');
    signedOut.addEventListener('now', refused);
    document.addEventListener('visibilitychange', again);
    addEventListener('focus', again);
    return () => {
      tabs.onmessage = null;
      signedOut.removeEventListener('now', refused);
      document.removeEventListener('visibilitychange', again);
      removeEventListener('focus', again);
    };
  }, []);
  const until = state.session?.expires_at;
  useEffect(() => {
    if (!until) return undefined;
    const timer = setTimeout(() => look('ended'), Math.min(Math.max(Date.parse(until) - Date.now(), 0) + 1000, LONGEST));
    return () => clearTimeout(timer);
  }, [until]);
  const person = state.session?.signed_in ? personOf(state.session) : '';
  const before = useRef('');
  useEffect(() => {
    if (person && before.current && person !== before.current) toast(en.session.changed(shown(state.session?.name, 60)));
    before.current = person;
  }, [person]);
  return { ...state, enter, retry: () => look('ended') };
}
