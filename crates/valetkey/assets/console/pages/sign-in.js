// Signing in: with an API key, with the one-time link of the first start, or at an identity provider.
import { html, useEffect, useState } from '../lib.js';
import { en } from '../en.js';
import { call } from '../api.js';
import { ErrorNote, Icon, sentence } from '../ui.js';
import { go, href, place } from '../router.js';

const WAY = 'valetkey-way';

/** Where the person goes on: where they are. Behind a sign-in that failed at the identity provider, where it began. */
function wayOn() {
  const { path } = place();
  if (path !== '/sign-in' && path !== '/go') return path === '/' ? '' : path + location.search;
  const noted = sessionStorage.getItem(WAY) ?? '';
  return place().query.error && /^\/[a-z][^\\]*$/.test(noted) ? noted : '';
}

const start = (to) => {
  const { space } = place();
  // The identity provider's way back leads to the default space; `/go` finds the right one.
  const target = space === 'default' ? `/app${to}` : `/app/go?${new URLSearchParams({ space, to })}`;
  return `/api/session/oidc/start?${new URLSearchParams({ to: target })}`;
};

export function SignIn({ session, query, why, kept, onSession }) {
  const [key, setKey] = useState('');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const [linked, setLinked] = useState(() => location.hash.length > 1);
  const to = wayOn();
  const enter = async (body) => {
    setBusy(true);
    setError(null);
    try {
      const next = await call('POST', '/api/session', body, { stay: true });
      setKey('');
      if (place().path === '/sign-in') go(to ? href('/') + to : href('/'), true);
      onSession(next);
    } catch (/** @type {any} */ refusal) {
      setError(refusal.status === 401 ? { ...refusal, message: body.link ? en.session.linkFailed : en.session.wrongKey } : refusal);
      setLinked(false);
      setBusy(false);
    }
  };
  useEffect(() => {
    document.title = `${en.session.title} · ${en.product}`;
    const follow = () => {
      const link = location.hash.slice(1);
      if (!link) return;
      // Not in the history, and not in what is copied from the address bar.
      history.replaceState(null, '', location.pathname + location.search);
      setLinked(true);
      enter({ link });
    };
    follow();
    // A link that is opened where this page is open already does not load it again.
    addEventListener('hashchange', follow);
    return () => removeEventListener('hashchange', follow);
  }, []);
  const oidc = session?.methods?.oidc;
  const failed = query.error && (en.session.fails[query.error] ?? en.session.fails.generic);
  return html`<main class="sign-in" id="content">
    <div class="card">
      <p class="brand"><span class="brand-mark"><${Icon} name="key" /></span>${en.product}</p>
      <h1 tabindex="-1">${en.session.title}</h1>
      <p class="soft">${en.session.lead}</p>
      ${why && !error && html`<div class="note" role="status">${en.session.why[why]}${kept && html`<p>${oidc ? en.session.keptHere : en.session.kept}</p>`}</div>`}
      ${query.done && !error && html`<p class="note good" role="status">${en.session.done}</p>`}
      ${failed && !error && html`<p class="note bad" role="alert">${failed}</p>`}
      <${ErrorNote} error=${error} />
      ${linked ? html`<p role="status">${en.session.link}</p>` : html`
        ${oidc && html`<a class="button big" href=${start(to)} target="_self" onClick=${() => sessionStorage.setItem(WAY, to)}>${en.session.oidc(sentence(oidc.name).replace(/\.$/, ''))}</a>
          <p class="or"><span>${en.session.or}</span></p>`}
        <form onSubmit=${(e) => { e.preventDefault(); enter({ key: key.trim() }); }}>
          <label for="key">${en.session.key}</label>
          <input id="key" type="password" name="key" required autocomplete="off" spellcheck=${false} maxlength="512" value=${key} onInput=${(e) => setKey(e.currentTarget.value)} aria-describedby="key-help" />
          <p class="help" id="key-help">${en.session.keyHelp}</p>
          <button class=${oidc ? 'button quiet big' : 'button big'} disabled=${busy}>${en.session.submit}</button>
        </form>`}
    </div>
  </main>`;
}
