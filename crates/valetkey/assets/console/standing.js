// How an account stands: the state in a word, its cause in a sentence, what comes next, and the buttons that do it.
import { html } from './lib.js';
import { en } from './en.js';
import { connectorPath, get, post } from './api.js';
import { authorize } from './flow.js';
import { Busy, Danger } from './controls.js';
import { toast } from './toasts.js';
import { Pill, Time, sentence } from './ui.js';
import { useSession } from './session.js';
import { shown } from './text.js';

/** The state in a word; one that ends soon is said to. */
export function State({ state, notice = null, children = null }) {
  return html`<${Pill} state=${notice ? 'expiring' : state}>${children}<//>`;
}

/**
 * Why a person is needed, or that the end is near, and what to do about it.
 * @param {{cause?: string, notice?: {reason: string, expires_at: string} | null, whose?: 'own' | 'shared' | 'other', owner?: string, brief?: boolean}} props
 * `whose`: whose account it is, as seen by who is signed in
 */
export function Why({ cause = '', notice = null, whose = 'own', owner = '', brief = false }) {
  const { can } = useSession();
  const theirs = en.next.other(shown(owner, 60), can('connectors:write'));
  if (cause) {
    const why = en.cause[cause] ?? shown(cause);
    if (brief) return html`<span class="soft small block">${why}</span>`;
    return html`<div class="note bad"><p class="why">${why}</p><p>${whose === 'other' ? theirs : en.next[cause] ?? en.next.again}</p></div>`;
  }
  if (!notice) return null;
  const words = en.notice[notice.reason];
  if (brief) return html`<span class="soft small block">${words?.brief} <${Time} at=${notice.expires_at} /></span>`;
  return html`<div class="note"><p class="why">${words?.text} <${Time} at=${notice.expires_at} />.</p><p>${whose === 'other' && notice.reason === 'expires' ? theirs : words?.next}</p></div>`;
}

/** Whose a connection is, to whoever is signed in. */
export function useWhose() {
  const { profile_uid: user } = useSession();
  return (owner) => (owner === 'shared' ? 'shared' : owner === user ? 'own' : 'other');
}

/**
 * What can be done about a connection: connect it again, use it once so that it is kept, end it.
 * @param {{c: any, name: string, back: string, onDone: () => void}} props `name`: what it is called; `back`: where to come back to
 */
export function Actions({ c, name, back, onDone }) {
  const { can } = useSession();
  const whose = useWhose()(c.owner);
  const mine = whose === 'own' && can('oauth:connect');
  const shared = whose === 'shared' && can('oauth:connect') && can('connectors:write');
  const named = c.connection === 'default' ? {} : { connection: c.connection };
  const urgent = c.state !== 'active' || c.notice?.reason === 'expires';
  const use = async () => {
    const result = await post(`${connectorPath(c.connector_id)}/_test`, named);
    toast(result.status === 'ok' ? en.mine.usedNow : sentence(result.message), result.status === 'ok' ? 'good' : 'bad');
    onDone();
  };
  const disconnect = async () => {
    if (mine || shared) await post(`${connectorPath(c.connector_id)}/_oauth_disconnect`, named);
    else await post('/api/actions/connections/_disconnect', { connector_id: c.connector_id, owner: c.owner, connection: c.connection });
    toast(en.connector.disconnected);
    onDone();
  };
  const words = whose === 'other'
    ? { title: en.connections.disconnectTitle(name), text: en.connections.disconnectText }
    : { title: en.connector.disconnectTitle, text: whose === 'shared' ? en.connector.disconnectShared : en.connector.disconnectText };
  return html`<div class="row">
    ${(mine || shared) && html`<${Busy} kind=${urgent ? 'button' : 'button quiet'} label=${en.mine.again} name=${`${en.mine.again}: ${name}`} action=${() => authorize(c.connector_id, back, named)} />`}
    ${c.notice?.reason === 'unused' && (mine || shared) && can('connectors:execute') && html`<${Busy} label=${en.mine.useNow} name=${`${en.mine.useNow}: ${name}`} action=${use} />`}
    ${(mine || shared || can('connectors:write')) && html`<${Danger} label=${en.connector.disconnect} name=${`${en.connector.disconnect}: ${name}`} ...${words} verb=${en.connector.disconnect} onConfirm=${disconnect} />`}
  </div>`;
}

/** How many pages of offers are read; more are found by their name on the connector's own page. */
const PAGES = 20;

/** The connectors that this person can connect an account of their own to. @param {AbortSignal} signal */
export async function offers(signal) {
  const all = [];
  let after;
  for (let page = 0; page < PAGES; page += 1) {
    const { connectors, next } = await get('/api/actions/connectors/_me', { after, limit: 200 }, signal);
    all.push(...connectors);
    if (!next) break;
    after = next;
  }
  return all;
}
