// Lists: the table, the filters above it, the pages below it, and what stands in its place when there is nothing.
import { html, useId } from './lib.js';
import { en } from './en.js';
import { Empty } from './ui.js';
import { go, href, trail } from './router.js';

/**
 * A table that becomes cards where there is no room for columns.
 * @param {{label: string, columns: {name: string, title: string, cell: (row: any) => any, wide?: boolean, end?: boolean}[], rows: any[], id: (row: any) => string}} props
 */
export function Table({ label, columns, rows, id }) {
  return html`<div class="table-frame" tabindex="0" role="region" aria-label=${label}><table role="table">
    <thead role="rowgroup"><tr role="row">${columns.map((c) => html`<th key=${c.name} role="columnheader" scope="col" class=${c.end ? 'end' : ''}>${c.title || html`<span class="hidden">${en.common.details}</span>`}</th>`)}</tr></thead>
    <tbody role="rowgroup">${rows.map((row) => html`<tr key=${id(row)} role="row">${columns.map((c, at) => html`<td key=${c.name} role="cell" class=${`${at === 0 ? 'first' : ''} ${c.end ? 'end' : ''}`} data-title=${c.title}><div>${c.cell(row)}</div></td>`)}</tr>`)}</tbody>
  </table></div>`;
}

/** How many pages back are remembered. */
const TRAIL = 500;

/** A link to another page of a list, which keeps where the pages before it began. */
function PageLink({ path, query, after, before, label }) {
  const to = href(path, { ...query, after });
  const follow = (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    go(to, false, before);
  };
  return html`<a class="button quiet" href=${to} onClick=${follow}>${label}</a>`;
}

/** To the next page of a list, to the one before, and to the first. */
export function Pages({ path, query, next, found = true }) {
  const before = trail();
  const here = query.after ?? '';
  if (!next && !here) return null;
  return html`<nav class="row pages" aria-label=${en.common.paging}>
    ${here && html`<${PageLink} path=${path} query=${query} after="" before=${[]} label=${en.common.first} />`}
    ${here && before.length > 0 && html`<${PageLink} path=${path} query=${query} after=${before[before.length - 1]} before=${before.slice(0, -1)} label=${en.common.previous} />`}
    ${next && html`<${PageLink} path=${path} query=${query} after=${next} before=${[...before.slice(1 - TRAIL), here]} label=${found ? en.common.next : en.common.goOn} />`}
  </nav>`;
}

/** That a list has nothing: at all, behind this page, or as far as it was looked through. */
export function Nothing({ icon, filtered, after, next, words, children = null }) {
  if (next) return html`<${Empty} icon="search" title=${en.common.soFar} text=${en.common.soFarText} />`;
  if (after) return html`<${Empty} icon=${icon} title=${en.common.noMore} text=${en.common.noMoreText} />`;
  if (filtered) return html`<${Empty} icon="search" title=${words.none} text=${words.noneText} />`;
  return html`<${Empty} icon=${icon} title=${words.empty} text=${words.emptyText}>${children}<//>`;
}

/**
 * Filters that are part of the address.
 * @param {{path: string, query: Record<string, string>, fields: {name: string, label: string, type?: string, options?: [string, string][], list?: string[], fallback?: string}[]}} props
 */
export function Filters({ path, query, fields }) {
  const base = useId();
  const submit = (event) => {
    event.preventDefault();
    const given = new FormData(event.currentTarget);
    go(href(path, Object.fromEntries(fields.map((f) => [f.name, String(given.get(f.name) ?? '').trim()]))));
  };
  const set = fields.some((f) => query[f.name]);
  return html`<form class="filters" role="search" onSubmit=${submit}>
    ${fields.map((f) => html`<label key=${f.name} class="filter"><span>${f.label}</span>
      ${f.options
        ? html`<select name=${f.name} value=${query[f.name] ?? f.fallback ?? ''} onChange=${(e) => e.currentTarget.form.requestSubmit()}>${f.options.map(([value, text]) => html`<option key=${value} value=${value} selected=${(query[f.name] ?? f.fallback ?? '') === value}>${text}</option>`)}</select>`
        : html`<input name=${f.name} type=${f.type ?? 'search'} defaultValue=${query[f.name] ?? ''} key=${query[f.name] ?? ''} autocomplete="off" spellcheck=${false} maxlength="255" list=${f.list ? `${base}-${f.name}` : undefined} />`}
      ${f.list && html`<datalist id=${`${base}-${f.name}`}>${f.list.map((value) => html`<option key=${value} value=${value} />`)}</datalist>`}
    </label>`)}
    <button class="button quiet">${fields.length === 1 ? en.common.search : en.common.filter}</button>
    ${set && html`<a class="button plain-link" href=${href(path)}>${en.common.clear}</a>`}
  </form>`;
}
