// The parts that all pages are made of.
import { html, Fragment, useEffect, useId, useRef, useState } from './lib.js';
import { en } from './en.js';
import { ago, fullTime, shown } from './text.js';
import { go, href, trail } from './router.js';

/** Line drawings, 24 by 24. */
const ICONS = {
  mine: 'M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8ZM4 20c1-4 4-6 8-6s7 2 8 6',
  connectors: 'M9 3v5M15 3v5M6 8h12v3a6 6 0 0 1-12 0ZM12 17v4',
  types: 'M4 4h7v7H4ZM13 4h7v7h-7ZM4 13h7v7H4ZM13 13h7v7h-7Z',
  connections: 'M10 14a4 4 0 0 0 6 0l3-3a4 4 0 0 0-6-6l-1 1M14 10a4 4 0 0 0-6 0l-3 3a4 4 0 0 0 6 6l1-1',
  keys: 'M8 20a5 5 0 1 1 0-10 5 5 0 0 1 0 10ZM11.500 11.500 20 3M16 7l3 3',
  audit: 'M6 3h9l4 4v14H6ZM14 3v5h5M9 12h7M9 16h7',
  health: 'M3 12h4l3-8 4 16 3-8h4',
  copy: 'M9 9h11v11H9ZM5 15H4V4h11v1',
  menu: 'M4 6h16M4 12h16M4 18h16',
  plus: 'M12 5v14M5 12h14',
  search: 'M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14ZM16 16l5 5',
  key: 'M9 15a4.500 4.500 0 1 1 0-9 4.500 4.500 0 0 1 0 9ZM13.500 10.500H21v4M17.500 10.500V13',
};

/** @param {{name: keyof typeof ICONS}} props */
export function Icon({ name }) {
  return html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false"><path d=${ICONS[name]} /></svg>`;
}

/** The heading of a page; focus goes there when the page changes, so that it is read. */
export function Heading({ title, lead = '', icon = null, children = null }) {
  useEffect(() => { document.title = `${title} · ${en.product}`; }, [title]);
  return html`<header class="heading">
    ${icon}
    <div class="heading-text"><h1 tabindex="-1">${title}</h1>${lead && html`<p class="soft">${lead}</p>`}</div>
    ${children && html`<div class="row heading-actions">${children}</div>`}
  </header>`;
}

/** The icon of a connector type, or its first letter. */
export function TypeIcon({ type, large = false }) {
  const [broken, setBroken] = useState(false);
  return html`<span class=${large ? 'type-icon large' : 'type-icon'} aria-hidden="true">
    ${broken
      ? shown(type).replace(/^\./, '').slice(0, 1).toUpperCase()
      : html`<img src=${`/app/icons/${encodeURIComponent(type)}`} alt="" width="24" height="24" onError=${() => setBroken(true)} />`}
  </span>`;
}

const TONES = { connected: 'good', active: 'good', ok: 'good', reauthorize: 'bad', failed: 'bad', error: 'bad', not_connected: 'plain', not_applicable: 'plain' };

/** A word with a colour; the word says it all. */
export function Pill({ state, children = null }) {
  return html`<span class=${`pill ${TONES[state] ?? 'plain'}`}>${children ?? en.status[state] ?? shown(state)}</span>`;
}

/** A time as people say it; the exact one on demand. */
export function Time({ at, none = en.common.unknown }) {
  if (!at) return html`<span class="soft">${none}</span>`;
  return html`<time dateTime=${at} title=${fullTime(at)}>${ago(at)}</time>`;
}

export function Loading() {
  const [late, setLate] = useState(false);
  useEffect(() => { const timer = setTimeout(() => setLate(true), 250); return () => clearTimeout(timer); }, []);
  return html`<p class="loading soft" role="status">${late ? en.loading : ''}</p>`;
}

/** What the API refused, with the id to ask about. */
export function ErrorNote({ error, retry = null }) {
  if (!error) return null;
  return html`<div class="note bad" role="alert">
    <strong>${en.error.title}</strong>
    <p>${sentence(error.message)}</p>
    ${error.retryAfter && html`<p>${en.error.wait(shown(error.retryAfter))}</p>`}
    ${error.requestId && html`<p class="soft">${en.error.request}: <code>${shown(error.requestId)}</code></p>`}
    ${retry && html`<p><button type="button" class="button quiet" onClick=${retry}>${en.error.retry}</button></p>`}
  </div>`;
}

/** Messages of the API start in lower case, so that they join. */
export function sentence(/** @type {unknown} */ message) {
  const text = shown(message, 600);
  return text && text[0].toUpperCase() + text.slice(1) + (/[.!?…]$/.test(text) ? '' : '.');
}

export function Empty({ title, text, icon = 'connectors', children = null }) {
  return html`<div class="empty"><span class="empty-mark"><${Icon} name=${icon} /></span><h2>${title}</h2><p class="soft">${text}</p>${children && html`<div class="row center">${children}</div>`}</div>`;
}

export function Copy({ text, label }) {
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      toast(en.common.copied);
    } catch { toast(en.common.copyFailed, 'bad'); }
  };
  return html`<div class="copy"><code>${text}</code>
    <button type="button" class="button quiet" onClick=${copy} aria-label=${`${en.common.copy}: ${label}`}><${Icon} name="copy" /> ${en.common.copy}</button></div>`;
}

/** @type {((text: string, tone?: string, id?: string) => void)} */
let say = () => {};
/** Says something in passing. @param {string} text @param {'good' | 'bad'} [tone] @param {string} [requestId] */
export const toast = (text, tone = 'good', requestId = '') => say(text, tone, requestId);
/** @param {any} error */
export const toastError = (error) => toast(sentence(error?.message ?? en.error.title), 'bad', error?.requestId ?? '');

/** What is said in passing. The region is there from the start, so that screen readers hear of changes. */
export function Toasts() {
  const [list, set] = useState([]);
  useEffect(() => {
    let number = 0;
    say = (text, tone, requestId) => {
      const id = (number += 1);
      set((old) => [...old.slice(-2), { id, text, tone, requestId }]);
      if (tone !== 'bad') setTimeout(() => set((old) => old.filter((t) => t.id !== id)), 6000);
    };
  }, []);
  return html`<div class="toasts" aria-live="polite" aria-atomic="false">
    ${list.map((t) => html`<div key=${t.id} class=${`toast ${t.tone}`}>
      <div>${t.text}${t.requestId && html`<div class="soft">${en.error.request}: <code>${shown(t.requestId)}</code></div>`}</div>
      <button type="button" class="dismiss" aria-label=${en.common.dismiss} onClick=${() => set((old) => old.filter((o) => o.id !== t.id))}>×</button>
    </div>`)}
  </div>`;
}

/** Asks before something that cannot be taken back. */
export function Confirm({ title, text, verb, onConfirm, onClose }) {
  const dialog = useRef(null);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const label = useId();
  useEffect(() => { dialog.current?.showModal(); }, []);
  const confirm = async () => {
    setBusy(true);
    setError(null);
    try { await onConfirm(); onClose(); } catch (refusal) { setError(refusal); setBusy(false); }
  };
  return html`<dialog ref=${dialog} aria-labelledby=${label} onClose=${onClose}>
    <h2 id=${label}>${title}</h2><p>${text}</p>
    <${ErrorNote} error=${error} />
    <div class="row end">
      <button type="button" class="button quiet" autofocus onClick=${() => dialog.current?.close()}>${en.common.cancel}</button>
      <button type="button" class="button danger" disabled=${busy} onClick=${confirm}>${verb}</button>
    </div>
  </dialog>`;
}

/** A button that asks first. */
export function Danger({ label, name = '', title, text, verb, onConfirm, quiet = true }) {
  const [open, setOpen] = useState(false);
  return html`<${Fragment}>
    <button type="button" class=${quiet ? 'button quiet danger-text' : 'button danger'} aria-label=${name || undefined} onClick=${() => setOpen(true)}>${label}</button>
    ${open && html`<${Confirm} title=${title} text=${text} verb=${verb} onConfirm=${onConfirm} onClose=${() => setOpen(false)} />`}
  <//>`;
}

/** A button for something that takes a moment. */
export function Busy({ label, busyLabel = '', action, kind = 'button', disabled = false, name = '' }) {
  const [busy, setBusy] = useState(false);
  const run = async () => {
    setBusy(true);
    try { await action(); } catch (error) { toastError(error); } finally { setBusy(false); }
  };
  return html`<button type="button" class=${kind} disabled=${busy || disabled} aria-label=${name || undefined} onClick=${run}>${busy && busyLabel ? busyLabel : label}</button>`;
}

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

/** A label with its input, help and error, tied together for everybody. */
export function Field({ label, help = '', error = '', required = false, children, wide = false }) {
  const id = useId();
  const describedBy = [help && `${id}-help`, error && `${id}-error`].filter(Boolean).join(' ') || undefined;
  return html`<div class=${wide ? 'field wide' : 'field'}>
    <label for=${id}>${label}${!required && html` <span class="soft">(${en.common.optional})</span>`}</label>
    ${children({ id, 'aria-describedby': describedBy, 'aria-invalid': error ? 'true' : undefined, required })}
    ${help && html`<p class="help" id=${`${id}-help`}>${help}</p>`}
    ${error && html`<p class="help bad-text" id=${`${id}-error`}>${error}</p>`}
  </div>`;
}

/** Terms and what they are; empty ones are left out. @param {{items: [string, any][]}} props */
export function Facts({ items }) {
  return html`<dl class="facts">${items.filter(([, value]) => value !== undefined && value !== null && value !== '')
    .map(([term, value]) => html`<div key=${term}><dt>${term}</dt><dd>${value}</dd></div>`)}</dl>`;
}

/** Permissions as a list of words. */
export function Scopes({ scopes, none = '' }) {
  if (!scopes?.length) return none ? html`<span class="soft">${none}</span>` : null;
  return html`<ul class="scopes">${scopes.slice(0, 60).map((s) => html`<li key=${s}><code>${shown(s, 80)}</code></li>`)}</ul>`;
}
