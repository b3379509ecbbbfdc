// The parts that all pages are made of.
import { html, useEffect, useId, useState } from './lib.js';
import { en } from './en.js';
import { ago, fullTime, shown } from './text.js';

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

const TONES = { connected: 'good', active: 'good', ok: 'good', reauthorize: 'bad', expiring: 'warn', failed: 'bad', error: 'bad', not_connected: 'plain', not_applicable: 'plain' };

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
