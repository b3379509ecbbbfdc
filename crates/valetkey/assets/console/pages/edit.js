// Creating a connector and changing its settings, with a form made from the schemas of its type.
import { html, useMemo, useState } from '../lib.js';
import { en } from '../en.js';
import { call, connectorPath, get, post, useData } from '../api.js';
import { Copy } from '../controls.js';
import { toast } from '../toasts.js';
import { ErrorNote, Field, Heading, Loading, TypeIcon } from '../ui.js';
import { go, href } from '../router.js';
import { Input, collect, fieldErrors, fields, initial } from '../schema.js';
import { shown } from '../text.js';

const FLOW = 'oauth_authorization_code';

/** A new connector of the type in the address. */
export function NewConnector({ query }) {
  const { data: type, error, reload } = useData((signal) => get(`/api/actions/connector_types/${encodeURIComponent(query.type ?? '')}`, {}, signal), [query.type]);
  if (error) return html`<${Heading} title=${en.connectors.new} /><${ErrorNote} error=${error} retry=${reload} />`;
  if (!type) return html`<${Loading} />`;
  return html`<${Heading} title=${en.edit.newTitle(shown(type.name))} lead=${shown(type.description)} icon=${html`<${TypeIcon} type=${type.id} large />`} />
    <${Form} type=${type} />`;
}

/** The settings of a connector that exists. */
export function EditConnector({ connector, onSaved }) {
  const { data: type, error, reload } = useData((signal) => get(`/api/actions/connector_types/${encodeURIComponent(connector.connector_type_id)}`, {}, signal), [connector.connector_type_id]);
  if (error) return html`<${ErrorNote} error=${error} retry=${reload} />`;
  if (!type) return html`<${Loading} />`;
  return html`<${Form} type=${type} connector=${connector} onSaved=${onSaved} key=${connector.updated_at} />`;
}

/** @param {any} props */
function Form({ type, connector = null, onSaved = (/** @type {any} */ _) => {} }) {
  const usual = type.auth_types.find((a) => a.recommended) ?? type.auth_types[0];
  const [name, setName] = useState(connector?.name ?? '');
  const [id, setId] = useState('');
  const [authType, setAuthType] = useState(connector?.auth_type ?? usual.id);
  const [mode, setMode] = useState('');
  const config = useMemo(() => fields(type.config_schema), [type]);
  const configFields = [...config.first, ...config.more];
  const auth = type.auth_types.find((a) => a.id === authType) ?? usual;
  const secrets = useMemo(() => fields(auth.schema, { split: true }), [auth]);
  const secretFields = [...secrets.first, ...secrets.more];
  const same = connector?.auth_type === authType;
  const given = same ? connector.auth ?? {} : {};
  const [values, setValues] = useState(() => initial(configFields, connector?.config ?? {}, !connector));
  const [typed, setTyped] = useState(/** @type {Record<string, any>} */ ({}));
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const [outdated, setOutdated] = useState(false);
  const wrong = fieldErrors(error?.message);
  const start = useMemo(() => initial(secretFields, given, !same), [auth, connector]);
  const secretValues = { ...start, ...typed };
  const set = (setter) => (field, value) => setter((old) => ({ ...old, [field]: value }));

  const show = () => requestAnimationFrame(() => document.querySelector('form .note.bad')?.scrollIntoView({ block: 'nearest' }));
  /** @param {boolean} [anyway] also where somebody else saved meanwhile */
  const save = async (anyway = false) => {
    setBusy(true);
    setError(null);
    setOutdated(false);
    try {
      if (connector && !anyway && (await get(connectorPath(connector.id))).updated_at !== connector.updated_at) {
        setOutdated(true);
        setBusy(false);
        show();
        return;
      }
      /** @type {any} */
      const body = { name, config: collect(configFields, values) };
      // Nothing touched: nothing sent, and everything kept. A secret left empty is kept as well.
      if (!connector || !same || Object.keys(typed).length) {
        const unseen = Object.fromEntries(Object.entries(given).filter(([n]) => {
          const schema = auth.schema.properties?.[n];
          return schema?.['x-hidden'] && !schema['x-locked'] && given[n] !== schema.default;
        }));
        body.secrets = { ...unseen, ...collect(secretFields, secretValues), authType };
      }
      if (connector) {
        onSaved(await call('PUT', connectorPath(connector.id), body));
        toast(en.edit.saved);
        setBusy(false);
      } else {
        const path = id ? connectorPath(id) : '/api/actions/connector';
        const made = await post(path, { ...body, connector_type_id: type.id, ...(mode ? { auth_mode: mode } : {}) });
        toast(en.edit.created);
        go(href(`/connectors/${encodeURIComponent(made.id)}`));
      }
    } catch (refusal) {
      setError(refusal);
      setBusy(false);
      show();
    }
  };
  const redirect = connector?.redirect_uri ?? (type.redirect_uri?.includes('{connector_id}') ? (id ? type.redirect_uri.replace('{connector_id}', id) : null) : type.redirect_uri);
  const input = (f, current, setter, keep) => html`<${Input} key=${f.name} field=${f} value=${current[f.name]} onChange=${setter} kept=${keep && f.schema.writeOnly} error=${wrong[f.name]} />`;
  return html`<form class="form" onSubmit=${(event) => { event.preventDefault(); save(); }} autocomplete="off">
    <${ErrorNote} error=${error} />
    ${outdated && html`<div class="note bad" role="alert"><strong>${en.edit.outdated}</strong><p>${en.edit.outdatedText}</p>
      <p class="row"><button type="button" class="button quiet" onClick=${onSaved}>${en.edit.theirs}</button><button type="button" class="button quiet danger-text" onClick=${() => save(true)}>${en.edit.mine}</button></p></div>`}
    <fieldset class="panel"><legend>${en.edit.general}</legend>
      <${Field} label=${en.edit.name} help=${en.edit.nameHelp} error=${wrong.name} required>${(tied) => html`<input ...${tied} name="name" value=${name} maxlength="255" onInput=${(e) => setName(e.currentTarget.value)} autocomplete="off" />`}<//>
      ${!connector && html`<${Field} label=${en.edit.id} help=${en.edit.idHelp} error=${wrong.id}>${(tied) => html`<input ...${tied} name="id" class="mono" value=${id} maxlength="64" onInput=${(e) => setId(e.currentTarget.value.trim())} autocomplete="off" spellcheck=${false} />`}<//>`}
    </fieldset>
    ${configFields.length > 0 && html`<fieldset class="panel"><legend>${en.edit.config}</legend>${configFields.map((f) => input(f, values, set(setValues), false))}</fieldset>`}
    <fieldset class="panel"><legend>${en.edit.secrets}</legend>
      <${Field} label=${en.edit.authType} help=${auth.description ? shown(auth.description) : ''} required>${(tied) => html`<select ...${tied} name="authType" value=${authType} onChange=${(e) => { setAuthType(e.currentTarget.value); setTyped({}); }}>
        ${type.auth_types.map((a) => html`<option key=${a.id} value=${a.id} selected=${a.id === authType}>${shown(a.label)}${a.recommended ? ` (${en.edit.recommended})` : ''}</option>`)}</select>`}<//>
      ${connector?.auth_type === FLOW && !same && html`<p class="note">${en.edit.authChange}</p>`}
      ${!connector && authType === FLOW && html`<${Field} label=${en.edit.mode} help=${en.edit.modeHelp} required>${(tied) => html`<select ...${tied} name="mode" value=${mode || auth.mode} onChange=${(e) => setMode(e.currentTarget.value)}>
        ${Object.entries(en.mode).reverse().map(([value, text]) => html`<option key=${value} value=${value} selected=${value === (mode || auth.mode)}>${text}</option>`)}</select>`}<//>`}
      ${secrets.first.map((f) => input(f, secretValues, set(setTyped), same))}
      ${secrets.more.length > 0 && html`<details class="more wide" open=${secrets.more.some((f) => wrong[f.name])}><summary>${en.edit.advanced}</summary><div class="fields">${secrets.more.map((f) => input(f, secretValues, set(setTyped), same))}</div></details>`}
      ${authType === FLOW && html`<div class="field wide"><p class="label">${en.edit.redirect}</p>
        ${redirect ? html`<p class="help">${en.edit.redirectHelp}</p><${Copy} text=${redirect} label=${en.edit.redirect} />` : html`<p class="help">${en.edit.redirectLater}</p>`}</div>`}
    </fieldset>
    <div class="row end"><a class="button quiet" href=${connector ? href(`/connectors/${encodeURIComponent(connector.id)}`) : href('/types')}>${en.common.cancel}</a>
      <button class="button" disabled=${busy}>${connector ? en.edit.save : en.edit.create}</button></div>
  </form>`;
}
