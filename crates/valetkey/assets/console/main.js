// The console: who is signed in, where in it they are, and the frame around the page.
import { html, render, Fragment, useEffect, useErrorBoundary, useLayoutEffect, useRef, useState } from './lib.js';
import { en } from './en.js';
import { ApiError, call } from './api.js';
import { flowBegan, flowResult } from './flow.js';
import { Danger } from './controls.js';
import { toast, toastError, Toasts } from './toasts.js';
import { Empty, ErrorNote, Heading, Icon, Loading, sentence, Time } from './ui.js';
import { followLinks, go, href, match, place, prefix, usePlace } from './router.js';
import { SessionContext, personOf, tellTabs, useLiveSession, useSession } from './session.js';
import { shown } from './text.js';
import { SignIn } from './pages/sign-in.js';
import { Types } from './pages/types.js';
import { Connectors } from './pages/connectors.js';
import { NewConnector } from './pages/edit.js';
import { ConnectorPage } from './pages/connector.js';
import { Connections, ConnectionPage } from './pages/connections.js';
import { Mine } from './pages/mine.js';
import { Keys, NewKey } from './pages/keys.js';
import { Audit } from './pages/audit.js';

/** The health page brings the plots with it, so it is loaded when somebody looks. */
function Health(props) {
  const [page, setPage] = useState(null);
  const [error, setError] = useState(null);
  useEffect(() => { import('./pages/health.js').then((m) => setPage(() => m.Health), () => setError(new ApiError({ message: en.error.network }))); }, []);
  return page ? html`<${page} ...${props} />` : error ? html`<${ErrorNote} error=${error} />` : html`<${Loading} />`;
}

/** Path, what is shown there, and which entry of the navigation it belongs to. Fixed names come before parts that vary. */
/** @type {[string, any, string][]} */
const ROUTES = [
  ['/mine', Mine, 'mine'], ['/types', Types, 'types'], ['/connectors', Connectors, 'connectors'], ['/connectors/new', NewConnector, 'connectors'],
  ['/connectors/:id', (p) => html`<${ConnectorPage} ...${p} tab="" />`, 'connectors'],
  ['/connectors/:id/run', (p) => html`<${ConnectorPage} ...${p} tab="run" />`, 'connectors'],
  ['/connectors/:id/edit', (p) => html`<${ConnectorPage} ...${p} tab="edit" />`, 'connectors'],
  ['/connections', Connections, 'connections'], ['/connections/:connector/:owner/:connection', ConnectionPage, 'connections'],
  ['/keys', Keys, 'keys'], ['/keys/new', NewKey, 'keys'], ['/audit', Audit, 'audit'], ['/health', Health, 'health'],
];

/** What the navigation has, and the privileges of which one is enough. */
const NAV = [
  ['mine', '/mine', 'oauth:connect'], ['connectors', '/connectors', 'connectors:read'], ['types', '/types', 'connectors:read'], ['connections', '/connections', 'connectors:write', 'audit:read'],
  ['keys', '/keys', 'keys:write'], ['audit', '/audit', 'audit:read'], ['health', '/health', 'audit:read'],
];

/** Ends this session, or all of this person's; the document is loaded again, so that nothing of it stays in memory. */
async function signOut(path) {
  await call('DELETE', path, undefined, { stay: true });
  tellTabs('out');
  location.replace(href('/sign-in', { done: 1 }));
  return new Promise(() => {});
}

function Spaces() {
  const { spaces = [] } = useSession();
  const { space } = usePlace();
  if (!spaces.includes('*') && spaces.length < 2) return spaces[0] && spaces[0] !== 'default' ? html`<p class="space"><span class="soft small">${en.session.space}</span> ${shown(spaces[0])}</p>` : null;
  const open = (wanted) => { if (wanted && wanted !== space) location.assign(href('/', {}, wanted)); };
  if (!spaces.includes('*')) {
    return html`<label class="space"><span class="soft small">${en.session.space}</span>
      <select value=${space} onChange=${(e) => open(e.currentTarget.value)}>${spaces.map((s) => html`<option key=${s} value=${s} selected=${s === space}>${shown(s)}</option>`)}</select></label>`;
  }
  return html`<form class="space" onSubmit=${(e) => { e.preventDefault(); open(String(new FormData(e.currentTarget).get('space') ?? '').trim()); }}>
    <label><span class="soft small">${en.session.space}</span><input name="space" key=${space} defaultValue=${space} maxlength="64" autocomplete="off" spellcheck=${false} /></label>
    <button class="button quiet small" aria-label=${en.session.switchSpace}>${en.session.go}</button></form>`;
}

function Account() {
  const { name, profile_uid: user, expires_at: until } = useSession();
  const menu = useRef(null);
  const act = (path) => () => signOut(path);
  useEffect(() => {
    const close = (event) => { if (menu.current?.open && (event.type === 'keydown' ? event.key === 'Escape' : !menu.current.contains(event.target))) { menu.current.open = false; if (event.type === 'keydown') menu.current.querySelector('summary').focus(); } };
    addEventListener('click', close);
    addEventListener('keydown', close);
    return () => { removeEventListener('click', close); removeEventListener('keydown', close); };
  }, []);
  return html`<details class="account" ref=${menu}><summary><span class="avatar" aria-hidden="true">${(shown(name) || '?').slice(0, 1).toUpperCase()}</span><span class="account-name">${shown(name, 60) || en.session.account}${user && user !== name && html`<span class="soft small block">${shown(user, 40)}</span>`}</span></summary>
    <div class="menu panel">${until && html`<p class="soft small">${en.session.until} <${Time} at=${until} /></p>`}
      <button type="button" class="button quiet" onClick=${() => act('/api/session')().catch(toastError)}>${en.session.out}</button>
      <${Danger} label=${en.session.everywhere} title=${`${en.session.everywhere}?`} text=${en.session.everywhereText} verb=${en.session.out} onConfirm=${act('/api/sessions')} /></div>
  </details>`;
}

function Nav({ current }) {
  const { can } = useSession();
  return html`<ul class="nav">${NAV.filter(([, , ...privileges]) => privileges.some(can)).map(([name, path]) => html`<li key=${name}><a href=${href(path)} aria-current=${current === name ? 'page' : undefined}><${Icon} name=${name} /> ${en.nav[name]}</a></li>`)}</ul>`;
}

/** What goes wrong while a page is drawn stays in its place. */
function Guard({ children }) {
  const [error, reset] = useErrorBoundary();
  return error ? html`<${ErrorNote} error=${{ message: en.error.broken }} retry=${reset} />` : children;
}

function Frame() {
  const here = usePlace();
  const { can, spaces = [] } = useSession();
  const [open, setOpen] = useState(false);
  const content = useRef(null);
  const first = useRef(true);
  const home = can('connectors:read') ? '/connectors' : '/mine';
  /** @type {any} */
  let found = null;
  for (const [pattern, page, nav] of ROUTES) {
    const parts = match(pattern, here.path);
    if (parts) { found = { page, nav, parts, pattern }; break; }
  }
  useEffect(() => {
    if (here.path === '/' || here.path === '/sign-in') {
      // The front door of a space that is not theirs leads people to one that is.
      if (spaces.length && !spaces.includes('*') && !spaces.includes(here.space)) location.replace(href('/', {}, spaces[0]));
      else go(href(home), true);
    }
    // Back from an identity provider that can return to the default space only.
    if (here.path === '/go') location.replace(`${prefix(here.query.space ?? 'default')}/app${/^\/[a-z][^\\]*$/.test(here.query.to ?? '') ? here.query.to : ''}`);
  }, [here.path]);
  // A new page begins at its top, and is read from its heading.
  useLayoutEffect(() => {
    setOpen(false);
    if (first.current) { first.current = false; return; }
    scrollTo(0, 0);
    content.current?.focus({ preventScroll: true });
  }, [here.path]);
  useEffect(() => {
    const result = landed;
    landed = null;
    if (result) toast(result.ok ? en.connector.connectedNow : en.connector.failedNow(sentence(result.error || en.error.status(Number(result.status)))), result.ok ? 'good' : 'bad');
  }, []);
  if (here.path === '/' || here.path === '/sign-in' || here.path === '/go') return html`<${Loading} />`;
  const page = found
    ? html`<${found.page} key=${found.pattern.replace(/\/(run|edit)$/, '') + JSON.stringify(found.parts)} ...${found.parts} query=${here.query} />`
    : html`<${Heading} title=${en.error.missing} /><${Empty} icon="search" title=${shown(here.path)} text=${en.error.missingText}><a class="button" href=${href(home)}>${en.error.home}</a><//>`;
  return html`<div class=${open ? 'frame open' : 'frame'}>
    <a class="skip" href="#content" onClick=${(e) => { e.preventDefault(); content.current?.focus(); }}>${en.skip}</a>
    <header class="side">
      <div class="side-top"><a class="brand" href=${href(home)}><span class="brand-mark"><${Icon} name="key" /></span>${en.product}</a>
        <button type="button" class="button quiet menu-button" aria-expanded=${open} aria-controls="navigation" onClick=${() => setOpen(!open)}><${Icon} name="menu" /> ${en.menu}</button></div>
      <div class="side-body" id="navigation"><nav aria-label=${en.nav.label}><${Nav} current=${found?.nav} /></nav>
        <div class="side-foot"><${Spaces} /><${Account} /></div></div>
    </header>
    <main id="content" ref=${content} tabindex="-1"><${Guard} key=${here.path}>${page}<//></main>
  </div>`;
}

function App() {
  const { session, kept, why, error, enter, retry } = useLiveSession(began ? 'away' : '');
  const { path, query } = usePlace();
  if (error) return html`<main class="sign-in" id="content"><${ErrorNote} error=${error} retry=${retry} /></main>`;
  if (!session) return html`<${Loading} />`;
  const inside = session.signed_in && !(path === '/sign-in' && location.hash.length > 1);
  const whose = inside ? session : kept;
  const onSession = (next) => {
    enter(next);
    tellTabs('in');
    requestAnimationFrame(() => document.getElementById('content')?.focus({ preventScroll: true }));
  };
  // The page waits behind the sign-in with what was typed in it, for the same person only.
  return html`
    ${whose && html`<div key=${personOf(whose)} hidden=${!inside}><${SessionContext.Provider} value=${whose}><${Frame} /><//></div>`}
    ${!inside && html`<${SignIn} key="sign-in" session=${session} query=${path === '/sign-in' ? query : {}} why=${why} kept=${kept !== null} onSession=${onSession} />`}`;
}

const began = flowBegan();
if (began) history.replaceState(null, '', began);
let landed = flowResult();
followLinks();
// A page that the browser kept must not show what a session that is over has seen.
addEventListener('pageshow', (event) => { if (event.persisted) location.reload(); });
const root = document.getElementById('app');
root?.replaceChildren();
if (root) render(html`<${Fragment}><${App} /><${Toasts} /><//>`, root);
