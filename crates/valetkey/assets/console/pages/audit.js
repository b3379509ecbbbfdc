// The audit log.
import { html } from '../lib.js';
import { en } from '../en.js';
import { get, useData } from '../api.js';
import { Filters, Nothing, Pages, Table } from '../list.js';
import { ErrorNote, Facts, Heading, Loading, Pill, Time } from '../ui.js';
import { href } from '../router.js';
import { count, fullTime, masked, shown } from '../text.js';

const TYPES = ['config.change', 'connection.state', 'flow.start', 'flow.complete', 'flow.reject', 'token.refresh', 'token.use', 'token.export', 'token.revoke', 'apikey.create', 'apikey.delete', 'auth.fail', 'authz.deny', 'limit.hit', 'egress.deny', 'key.rotate', 'crypto.fail', 'session.start', 'session.end', 'session.change'];

/** A local time of an input as the API wants it. */
const iso = (text) => { const time = new Date(text); return text && !Number.isNaN(time.getTime()) ? time.toISOString() : undefined; };

export function Audit({ query }) {
  const { type, connector, user, from, to, after } = query;
  const { data, error, loading, reload } = useData(
    (signal) => get('/api/audit', { type, connector, user, from: iso(from), to: iso(to), after, limit: 50 }, signal), [type, connector, user, from, to, after]);
  return html`<${Heading} title=${en.audit.title} lead=${en.audit.lead} />
    <${Filters} path="/audit" query=${query} fields=${[
      { name: 'type', label: en.audit.type, list: TYPES }, { name: 'connector', label: en.audit.connector }, { name: 'user', label: en.audit.user },
      { name: 'from', label: en.audit.from, type: 'datetime-local' }, { name: 'to', label: en.audit.to, type: 'datetime-local' },
    ]} />
    <${ErrorNote} error=${error} retry=${reload} />
    ${loading && !data && html`<${Loading} />`}
    ${data && !data.records.length && html`<${Nothing} icon="audit" after=${after} next=${data.next} words=${en.audit} />`}
    ${data?.records.length > 0 && html`<${AuditTable} records=${data.records} />`}
    <${Pages} path="/audit" query=${query} next=${data?.next} />`;
}

/** Records as a table. @param {{records: any[], brief?: boolean}} props */
export function AuditTable({ records, brief = false }) {
  const who = (r) => r.user ? shown(r.user, 60) : r.key ? html`<span class="soft">${en.audit.key}</span> <code>${shown(r.key, 40)}</code>` : html`<span class="soft">${en.audit.service}</span>`;
  const columns = [
    { name: 'time', title: en.audit.time, cell: (r) => html`<time dateTime=${r.at} class="nowrap">${fullTime(r.at)}</time>` },
    { name: 'type', title: en.audit.type, cell: (r) => html`<code>${shown(r.type)}</code>${r.count > 1 && html` <span class="soft small">${en.audit.times(count(r.count))}</span>`}` },
    { name: 'outcome', title: en.audit.outcome, cell: (r) => html`<${Pill} state=${r.outcome === 'ok' ? 'ok' : 'error'}>${shown(r.outcome, 60)}<//>` },
    { name: 'who', title: en.audit.who, cell: who },
    { name: 'connector', title: en.audit.what, cell: (r) => (r.connector ? html`<a href=${href(`/connectors/${encodeURIComponent(r.connector)}`)}>${shown(r.connector, 60)}</a>` : html`<span class="soft">–</span>`) },
    { name: 'details', title: '', cell: (r) => html`<details><summary>${en.common.details}</summary><${Facts} items=${[
      [en.audit.request, r.request_id && html`<code>${shown(r.request_id)}</code>`], [en.audit.address, shown(r.address)], [en.audit.key, r.key && html`<code>${shown(r.key)}</code>`],
      [en.audit.owner, shown(r.owner)], [en.audit.connection, r.connection === 'default' ? '' : shown(r.connection)],
      ...Object.entries(/** @type {any} */ (masked(r.details ?? {}))).map(([name, value]) => [shown(name, 40), html`<span class="break">${shown(typeof value === 'object' ? JSON.stringify(value) : value)}</span>`]),
    ]} /></details>` },
  ];
  return html`<${Table} label=${en.audit.title} columns=${brief ? columns.filter((c) => c.name !== 'connector') : columns} rows=${records} id=${(r) => r.seq} />`;
}
