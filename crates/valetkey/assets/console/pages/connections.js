// The connections of everybody, and one of them with its history.
import { html } from '../lib.js';
import { en } from '../en.js';
import { get, getPage, useData } from '../api.js';
import { Filters, Nothing, Pages, Table } from '../list.js';
import { Empty, ErrorNote, Facts, Heading, Loading, Scopes, Time, TypeIcon } from '../ui.js';
import { go, href } from '../router.js';
import { useSession } from '../session.js';
import { Actions, State, Why, useWhose } from '../standing.js';
import { shown } from '../text.js';
import { AuditTable } from './audit.js';

const PAGE = 25;
const LIST = '/api/actions/connections';

/** The address of a connection. */
const at = (c) => `/connections/${[c.connector_id, c.owner, c.connection].map(encodeURIComponent).join('/')}`;
export const ownerName = (/** @type {string} */ owner) => (owner === 'shared' ? en.connections.shared : shown(owner, 60));
export const accountName = (account) => shown(account?.label || account?.id || '', 80);

export function Connections({ query }) {
  const { connector, state, search, after } = query;
  const { data, error, loading, reload } = useData(
    (signal) => getPage(LIST, { connector, state, search, after, limit: PAGE }, 'connections', signal), [connector, state, search, after]);
  const { data: known } = useData((signal) => get('/api/actions/connectors', { limit: 100 }, signal), []);
  const rows = data?.connections ?? [];
  const filtered = connector || state || search || after;
  const columns = [
    { name: 'account', title: en.connections.account, cell: (c) => html`<span class="named"><${TypeIcon} type=${c.connector_type_id} /><span><a href=${href(at(c))}>${accountName(c.account) || ownerName(c.owner)}</a><span class="soft small block">${shown(c.connector_name, 60)}</span></span></span>` },
    { name: 'owner', title: en.connections.owner, cell: (c) => html`${ownerName(c.owner)}${c.connection !== 'default' && html` <code>${shown(c.connection)}</code>`}` },
    { name: 'state', title: en.connections.state, cell: (c) => html`<${State} state=${c.state} notice=${c.notice} /><${Why} cause=${c.cause} notice=${c.notice} brief />` },
    { name: 'expires', title: en.connections.expires, cell: (c) => html`<${Time} at=${c.expires_at} none="–" />` },
    { name: 'used', title: en.connections.used, cell: (c) => html`<${Time} at=${c.used_at} none=${en.common.never} />` },
    { name: 'actions', title: '', end: true, cell: (c) => (c.state !== 'active' || c.notice) && html`<${Actions} c=${c} name=${accountName(c.account) || ownerName(c.owner)} back=${href('/connections', query)} onDone=${reload} />` },
  ];
  return html`<${Heading} title=${en.connections.title} lead=${en.connections.lead} />
    ${(filtered || rows.length > 0) && html`<${Filters} path="/connections" query=${query} fields=${[
      { name: 'search', label: en.connections.search },
      { name: 'connector', label: en.connections.connector, list: (known ?? []).map((c) => c.id) },
      { name: 'state', label: en.connections.state, options: [['', en.connections.any], ['active', en.connections.active], ['reauthorize', en.connections.reauthorize]] },
    ]} />`}
    <${ErrorNote} error=${error} retry=${reload} />
    ${loading && !data && html`<${Loading} />`}
    ${data && !rows.length && html`<${Nothing} icon="connections" filtered=${connector || state || search} after=${after} next=${data.next} words=${en.connections} />`}
    ${rows.length > 0 && html`<${Table} label=${en.connections.title} columns=${columns} rows=${rows} id=${at} />`}
    <${Pages} path="/connections" query=${query} next=${data?.next} found=${rows.length > 0} />`;
}

export function ConnectionPage({ connector, owner, connection, query }) {
  const { can } = useSession();
  const whose = useWhose();
  const { data, error, reload } = useData(
    (signal) => get(LIST, { connector, owner, limit: 100 }, signal), [connector, owner]);
  const history = useData(
    (signal) => (can('audit:read') ? get('/api/audit', { connector, owner, connection, after: query.after, limit: 25 }, signal) : Promise.resolve(null)),
    [connector, owner, connection, query.after]);
  if (error) return html`<${Heading} title=${en.connections.title} /><${ErrorNote} error=${error} retry=${reload} />`;
  if (!data) return html`<${Loading} />`;
  const found = data.connections.find((c) => c.connection === connection && c.owner === owner);
  const title = found ? accountName(found.account) || ownerName(owner) : en.connections.gone;
  const here = at({ connector_id: connector, owner, connection });
  return html`<p class="crumbs"><a href=${href('/connections')}>${en.connections.title}</a></p>
    <${Heading} title=${title} icon=${found && html`<${TypeIcon} type=${found.connector_type_id} large />`} lead=${found ? shown(found.connector_name) : en.connections.goneText}>
      ${found && html`<${Actions} c=${found} name=${title} back=${href(here)} onDone=${() => go(href('/connections'))} />`}
    <//>
    ${found && html`<section class="panel" aria-label=${en.common.details}>
      <${Why} cause=${found.cause} notice=${found.notice} whose=${whose(owner)} owner=${ownerName(owner)} />
      <${Facts} items=${[
        [en.connections.state, html`<${State} state=${found.state} notice=${found.notice} />`], [en.connections.owner, ownerName(owner)],
        [en.connections.account, accountName(found.account)], [en.connections.connector, html`<a href=${href(`/connectors/${encodeURIComponent(connector)}`)}>${shown(found.connector_name)}</a>`],
        [en.connections.name, connection === 'default' ? '' : shown(connection)], [en.connections.connected, html`<${Time} at=${found.connected_at} />`],
        [en.connections.refreshed, found.refreshed_at && html`<${Time} at=${found.refreshed_at} />`], [en.connections.expires, found.expires_at && html`<${Time} at=${found.expires_at} />`], [en.connections.refreshEnds, found.refresh_expires_at && html`<${Time} at=${found.refresh_expires_at} />`],
        [en.connections.used, html`<${Time} at=${found.used_at} none=${en.common.never} />`], [en.connections.scopes, html`<${Scopes} scopes=${found.scopes} none=${en.connections.noScopes} />`],
      ]} /></section>`}
    <h2>${en.connections.history}</h2>
    ${!can('audit:read') && html`<p class="soft">${en.connections.historyNo}</p>`}
    <${ErrorNote} error=${history.error} retry=${history.reload} />
    ${history.data && (history.data.records.length
      ? html`<${AuditTable} records=${history.data.records} brief />`
      : html`<${Empty} icon="audit" title=${en.connections.historyEmpty} text=${en.connections.historyEmptyText} />`)}
    <${Pages} path=${here} query=${query} next=${history.data?.next} />`;
}
