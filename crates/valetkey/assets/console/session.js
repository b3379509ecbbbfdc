// Who is signed in, and what that allows. Only what is shown depends on it; the API decides for itself.
import { createContext, useContext } from './lib.js';

/** @typedef {{signed_in: boolean, name?: string, profile_uid?: string | null, privileges?: string[], spaces?: string[], expires_at?: string, methods?: {oidc?: null | {name: string}}}} Session */

export const SessionContext = createContext(/** @type {Session} */ ({ signed_in: false }));

/** The session with a question that pages ask. */
export function useSession() {
  const session = useContext(SessionContext);
  const privileges = session.privileges ?? [];
  return { ...session, can: (/** @type {string} */ privilege) => privileges.includes('admin') || privileges.includes(privilege) };
}
