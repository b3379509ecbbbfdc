// The connectors of the space.
import { html } from '../lib.js';
import { en } from '../en.js';
import { getPage, useData } from '../api.js';
import { Filters, Nothing, Pages, Table } from '../list.js';
import { ErrorNote, Heading, Icon, Loading, Pill, Time, TypeIcon } from '../ui.js';
import { href } from '../router.js';
import { useSession } from '../session.js';
import { shown } from '../text.js';

const PAGE = 25;

export function Connectors({ query }) {
  const { can } = useSession();
  const { search, after } = query;
  const { data, error, loading, reload } = useData(
    (signal) => getPage('/api/actions/connectors/_search', { search, after, limit: PAGE }, 'connectors', signal), [search, after]);
  const rows = data?.connectors ?? [];
  const next = data?.next;
  const create = can('connectors:write') && html`<a class="button" href=${href('/types')}><${Icon} name="plus" /> ${en.connectors.new}</a>`;
  const columns = [
    { name: 'name', title: en.connectors.name, cell: (c) => html`<span class="named"><${TypeIcon} type=${c.connector_type_id} /><span><a href=${href(`/connectors/${encodeURIComponent(c.id)}`)}>${shown(c.name)}</a><span class="soft small block">${shown(c.id, 60)}</span></span></span>` },
    { name: 'type', title: en.connectors.type, cell: (c) => html`<code>${shown(c.connector_type_id)}</code>` },
    { name: 'auth', title: en.connectors.auth, cell: (c) => html`${en.auth[c.auth_type] ?? shown(c.auth_type)}` },
    { name: 'mode', title: en.connectors.mode, cell: (c) => html`${en.mode[c.auth_mode]}` },
    { name: 'status', title: en.connectors.status, cell: (c) => html`<${Pill} state=${c.user_auth_status} />` },
    { name: 'updated', title: en.connector.updated, cell: (c) => html`<${Time} at=${c.updated_at} />` },
  ];
  const filtered = search || after;
  return html`<${Heading} title=${en.connectors.title} lead=${en.connectors.lead}>${create}<//>
    ${(filtered || rows.length > 0) && html`<${Filters} path="/connectors" query=${query} fields=${[{ name: 'search', label: en.connectors.search }]} />`}
    <${ErrorNote} error=${error} retry=${reload} />
    ${loading && !data && html`<${Loading} />`}
    ${data && !rows.length && html`<${Nothing} icon="connectors" filtered=${search} after=${after} next=${next} words=${en.connectors}>${create}<//>`}
    ${rows.length > 0 && html`<${Table} label=${en.connectors.title} columns=${columns} rows=${rows} id=${(c) => c.id} />`}
    <${Pages} path="/connectors" query=${query} next=${next} found=${rows.length > 0} />`;
}
