// One connector: its account, what it needs to be set up, its settings, and its actions.
import { html, useState } from '../lib.js';
import { en } from '../en.js';
import { call, connectorPath, get, post, useData } from '../api.js';
import { authorize } from '../flow.js';
import { Busy, Copy, Danger } from '../controls.js';
import { toast } from '../toasts.js';
import { ErrorNote, Facts, Heading, Loading, sentence, Time, TypeIcon } from '../ui.js';
import { go, href } from '../router.js';
import { useSession } from '../session.js';
import { State, Why } from '../standing.js';
import { shown } from '../text.js';
import { spaced } from '../schema.js';
import { EditConnector } from './edit.js';
import { Run } from './run.js';

export function ConnectorPage({ id, tab, query }) {
  const { can } = useSession();
  const { data, error, reload } = useData((signal) => get(connectorPath(id), {}, signal), [id]);
  if (error) return html`<${Heading} title=${en.connectors.title} /><${ErrorNote} error=${error} retry=${reload} />`;
  if (!data) return html`<${Loading} />`;
  const at = `/connectors/${encodeURIComponent(id)}`;
  const tabs = [['', en.connector.overview, true], ['run', en.connector.run, can('connectors:execute')], ['edit', en.connector.edit, can('connectors:write')]];
  return html`<p class="crumbs"><a href=${href('/connectors')}>${en.connectors.title}</a></p>
    <${Heading} title=${shown(data.name)} icon=${html`<${TypeIcon} type=${data.connector_type_id} large />`} lead=${html`<code>${shown(data.connector_type_id)}</code> · ${en.auth[data.auth_type] ?? shown(data.auth_type)}`} />
    <nav class="tabs" aria-label=${en.connector.tabs}>${tabs.filter(([, , may]) => may).map(([name, text]) => html`<a key=${name} href=${href(name ? `${at}/${name}` : at)} aria-current=${tab === name ? 'page' : undefined}>${text}</a>`)}</nav>
    ${data.is_missing_secrets && html`<p class="note bad" role="status">${en.connector.missingSecrets}</p>`}
    ${tab === 'edit' ? html`<${EditConnector} connector=${data} onSaved=${reload} />`
      : tab === 'run' ? html`<${Run} connector=${data} query=${query} />`
        : html`<${Overview} connector=${data} reload=${reload} />`}`;
}

function Overview({ connector: c, reload }) {
  const { can } = useSession();
  const mine = `/connectors/${encodeURIComponent(c.id)}`;
  const remove = async () => {
    await call('DELETE', connectorPath(c.id));
    toast(en.connector.deleted);
    go(href('/connectors'));
  };
  return html`<div class="columns">
    <div class="stack">
      <${Account} connector=${c} reload=${reload} />
      ${can('connectors:execute') && html`<${Test} connector=${c} />`}
    </div>
    <div class="stack">
      <section class="panel" aria-labelledby="setup"><h2 id="setup">${en.connector.setup}</h2>
        ${c.redirect_uri && html`<p class="label">${en.connector.redirect}</p><p class="help">${en.connector.redirectHelp}</p><${Copy} text=${c.redirect_uri} label=${en.connector.redirect} />`}
        <${Facts} items=${[
          [en.connector.id, html`<code>${shown(c.id)}</code>`], [en.connector.mode, en.mode[c.auth_mode]],
          ...Object.entries(c.config ?? {}).slice(0, 8).map(([name, value]) => [shown(spaced(name)), html`<span class="break">${shown(typeof value === 'object' ? JSON.stringify(value) : value)}</span>`]),
          [en.connector.created, html`<${Time} at=${c.created_at} />`], [en.connector.updated, html`<${Time} at=${c.updated_at} />`],
        ]} />
        <p class="row">${(can('connectors:write') || can('audit:read')) && html`<a href=${href('/connections', { connector: c.id })}>${en.connector.connections}</a>`}
          ${can('audit:read') && html`<a href=${href('/audit', { connector: c.id })}>${en.connector.history}</a>`}</p>
      </section>
      ${can('connectors:write') && html`<section class="panel danger-zone" aria-labelledby="danger"><h2 id="danger">${en.connector.danger}</h2><p class="soft">${en.connector.dangerText}</p>
        <p><${Danger} label=${en.common.delete} title=${en.connector.deleteTitle(shown(c.name, 60))} text=${en.connector.dangerText} verb=${en.common.delete} onConfirm=${remove} /></p></section>`}
    </div>
  </div>`;
}

/** The caller's own standing with a connector, or the shared one's, and what can be done about it. */
function Account({ connector: c, reload }) {
  const { can, profile_uid: user } = useSession();
  const { data } = useData((signal) => post('/api/actions/connectors/_me/auth_status', { connectorIds: [c.id] }, signal), [c.id, c.user_auth_status]);
  const standing = data?.[c.id];
  const state = standing?.user_auth_status ?? c.user_auth_status;
  const shared = c.auth_mode === 'shared';
  const flow = c.auth_type === 'oauth_authorization_code';
  const may = flow && can('oauth:connect') && (shared ? can('connectors:write') : !!user);
  const urgent = state !== 'connected' || standing?.notice?.reason === 'expires';
  const disconnect = async () => {
    await post(`${connectorPath(c.id)}/_oauth_disconnect`);
    toast(en.connector.disconnected);
    reload();
  };
  const text = !flow ? en.connector.noFlow : shared ? en.connector.shared : user ? en.connector.own : en.connector.notMine;
  return html`<section class="panel" aria-labelledby="account"><h2 id="account">${en.connector.account} <${State} state=${flow && !shared && !user ? 'not_applicable' : state} notice=${standing?.notice}>${flow && !shared && !user ? en.mode['per-user'] : null}<//></h2>
    <${Why} cause=${standing?.reason} notice=${standing?.notice} />
    <p class="soft">${text}</p>
    ${flow && !may && (shared || user) && html`<p class="soft">${en.connector.noRight}</p>`}
    ${may && html`<div class="row">
      <${Busy} kind=${urgent ? 'button' : 'button quiet'} label=${state === 'not_connected' ? en.connector.authorize : en.connector.again} action=${() => authorize(c.id, href(`/connectors/${encodeURIComponent(c.id)}`))} />
      ${state !== 'not_connected' && html`<${Danger} label=${en.connector.disconnect} title=${en.connector.disconnectTitle} text=${shared ? en.connector.disconnectShared : en.connector.disconnectText} verb=${en.connector.disconnect} onConfirm=${disconnect} />`}
    </div>`}
  </section>`;
}

function Test({ connector }) {
  const [result, setResult] = useState(null);
  const [error, setError] = useState(null);
  const run = async () => {
    setError(null);
    setResult(null);
    try { setResult(await post(`${connectorPath(connector.id)}/_test`)); } catch (refusal) { setError(refusal); }
  };
  const ok = result?.status === 'ok';
  return html`<section class="panel" aria-labelledby="check"><h2 id="check">${en.connector.check}</h2><p class="soft">${en.connector.checkText}</p>
    <p><${Busy} kind="button quiet" label=${en.connector.test} busyLabel=${en.connector.testing} action=${run} /></p>
    <div aria-live="polite">
      ${result && html`<div class=${ok ? 'note good' : 'note bad'}><strong>${ok ? en.connector.testOk : en.connector.testBad}</strong><p>${sentence(result.message)}</p>
        ${result.authorization && html`<p>${en.cause[result.authorization.reason] ?? ''}</p>`}</div>`}
      <${ErrorNote} error=${error} />
    </div>
  </section>`;
}
