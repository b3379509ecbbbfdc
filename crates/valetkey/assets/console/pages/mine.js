// What the person who is signed in has connected, and could connect.
import { html } from '../lib.js';
import { en } from '../en.js';
import { authorize, connectorPath, get, post, useData } from '../api.js';
import { Busy, Danger } from '../controls.js';
import { toast } from '../toasts.js';
import { Empty, ErrorNote, Facts, Heading, Loading, Pill, Scopes, Time, TypeIcon } from '../ui.js';
import { href } from '../router.js';
import { useSession } from '../session.js';
import { shown } from '../text.js';
import { accountName } from './connections.js';

const FLOW = 'oauth_authorization_code';

export function Mine() {
  const { can, profile_uid: user } = useSession();
  const load = async (signal) => {
    if (!user) return null;
    const [own, connectors] = await Promise.all([
      get('/api/actions/connections/_me', {}, signal),
      can('connectors:read') ? get('/api/actions/connectors', { limit: 500 }, signal) : Promise.resolve([]),
    ]);
    const have = new Set(own.connections.map((c) => c.connector_id));
    return { own: own.connections, free: connectors.filter((c) => c.auth_type === FLOW && c.auth_mode === 'per-user' && !have.has(c.id)) };
  };
  const { data, error, loading, reload } = useData(load, [user]);
  const connect = (id, connection) => authorize(id, href('/mine'), connection && connection !== 'default' ? { connection } : {});
  const disconnect = (c) => async () => {
    await post(`${connectorPath(c.connector_id)}/_oauth_disconnect`, { connection: c.connection });
    toast(en.connector.disconnected);
    reload();
  };
  const heading = html`<${Heading} title=${en.mine.title} lead=${en.mine.lead} />`;
  if (!user) return html`${heading}<${Empty} icon="mine" title=${en.mine.noUser} text=${en.mine.noUserText} />`;
  return html`${heading}
    <${ErrorNote} error=${error} retry=${reload} />
    ${loading && !data && html`<${Loading} />`}
    ${data && !data.own.length && !data.free.length && html`<${Empty} icon="mine" title=${en.mine.nothing} text=${en.mine.nothingText} />`}
    ${data && !data.own.length && data.free.length > 0 && html`<${Empty} icon="mine" title=${en.mine.empty} text=${en.mine.emptyText} />`}
    <ul class="cards">${(data?.own ?? []).map((c) => html`<li key=${`${c.connector_id} ${c.connection}`} class="panel connection">
      <div class="tile-head"><${TypeIcon} type=${c.connector_type_id} /><div class="grow"><h2>${shown(c.connector_name)}</h2>${c.connection !== 'default' && html`<code class="soft">${shown(c.connection)}</code>`}</div><${Pill} state=${c.state} /></div>
      ${c.cause && html`<p class="bad-text">${en.cause[c.cause] ?? shown(c.cause)}</p>`}
      ${c.notice && html`<p class="note">${en.notice[c.notice.reason ?? c.notice] ?? ''} ${c.notice.expires_at && html`<${Time} at=${c.notice.expires_at} />`}</p>`}
      <${Facts} items=${[
        [en.mine.as, html`<strong>${accountName(c.account) || en.common.unknown}</strong>`], [en.mine.since, html`<${Time} at=${c.connected_at} />`],
        [en.mine.used, html`<${Time} at=${c.used_at} none=${en.common.never} />`],
        [en.mine.scopes, c.scopes?.length > 6 ? html`<details><summary>${en.mine.scopesCount(c.scopes.length)}</summary><${Scopes} scopes=${c.scopes} /></details>` : html`<${Scopes} scopes=${c.scopes} none=${en.connections.noScopes} />`],
      ]} />
      ${can('oauth:connect') && html`<div class="row">
        <${Busy} kind=${c.state === 'active' ? 'button quiet' : 'button'} label=${en.mine.again} name=${`${en.mine.again}: ${shown(c.connector_name)}`} action=${() => connect(c.connector_id, c.connection)} />
        <${Danger} label=${en.mine.disconnect} name=${`${en.mine.disconnect}: ${shown(c.connector_name)}`} title=${en.connector.disconnectTitle} text=${en.connector.disconnectText} verb=${en.mine.disconnect} onConfirm=${disconnect(c)} /></div>`}
    </li>`)}</ul>
    ${data?.free.length > 0 && html`<h2>${en.mine.available}</h2>
      <ul class="rows">${data.free.map((c) => html`<li key=${c.id} class="panel line"><${TypeIcon} type=${c.connector_type_id} /><span class="grow">${shown(c.name)}</span>
        ${can('oauth:connect') && html`<${Busy} kind="button" label=${en.mine.connect} name=${`${en.mine.connect}: ${shown(c.name)}`} action=${() => connect(c.id, '')} />`}</li>`)}</ul>`}`;
}
