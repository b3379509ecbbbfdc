// Running an action by hand: a form from its input schema, the request as a program would send it, and the answer.
import { html, useMemo, useState } from '../lib.js';
import { en } from '../en.js';
import { connectorPath, get, post, useData } from '../api.js';
import { Empty, ErrorNote, Field, Loading, Pill, sentence } from '../ui.js';
import { go, href, prefix, place } from '../router.js';
import { Input, collect, fieldErrors, fields, initial } from '../schema.js';
import { pretty, shown } from '../text.js';

export function Run({ connector, query }) {
  const { data: type, error, reload } = useData((signal) => get(`/api/actions/connector_types/${encodeURIComponent(connector.connector_type_id)}`, {}, signal), [connector.connector_type_id]);
  if (error) return html`<${ErrorNote} error=${error} retry=${reload} />`;
  if (!type) return html`<${Loading} />`;
  const actions = type.actions ?? [];
  if (!actions.length) return html`<${Empty} title=${en.run.none} text="" />`;
  const action = actions.find((a) => a.name === query.action) ?? actions[0];
  const at = `/connectors/${encodeURIComponent(connector.id)}/run`;
  return html`<${RunAction} key=${action.name} connector=${connector} action=${action}>
    <${Field} label=${en.run.action} help=${sentence(action.description)} required>${(tied) => html`<select ...${tied} onChange=${(e) => go(href(at, { action: e.currentTarget.value }))}>
      ${actions.map((a) => html`<option key=${a.name} value=${a.name} selected=${a.name === action.name}>${shown(a.name)} (${a.effect === 'read' ? en.run.reads : en.run.writes})</option>`)}</select>`}<//>
  <//>`;
}

function RunAction({ connector, action, children }) {
  const { first, more } = useMemo(() => fields(action.input_schema), [action]);
  const all = [...first, ...more];
  const [values, setValues] = useState(() => initial(all));
  const [request, setRequest] = useState(null);
  const [answer, setAnswer] = useState(null);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const wrong = fieldErrors(error?.message);
  const run = async (event) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    setAnswer(null);
    try {
      const body = { params: { subAction: action.name, subActionParams: collect(all, values) } };
      setRequest(body);
      setAnswer(await post(`${connectorPath(connector.id)}/_execute`, body));
    } catch (refusal) { setError(refusal); } finally { setBusy(false); }
  };
  const set = (name, value) => setValues((old) => ({ ...old, [name]: value }));
  return html`<div class="columns even">
    <form class="panel form-panel" onSubmit=${run} autocomplete="off"><h2>${en.run.input}</h2>
      ${children}
      ${all.length ? all.map((f) => html`<${Input} key=${f.name} field=${f} value=${values[f.name]} onChange=${set} error=${wrong[f.name]} />`) : html`<p class="soft">${en.run.noInput}</p>`}
      <div class="row"><button class="button" disabled=${busy}>${busy ? en.run.running : en.run.submit}</button></div>
    </form>
    <section class="panel" aria-labelledby="answer"><div aria-live="polite">
      ${!request && !error && html`<h2 id="answer">${en.run.answer}</h2><p class="soft">${en.run.nothing}</p>`}
      <${ErrorNote} error=${error} />
      ${answer && html`<h2 id="answer">${en.run.answer} <${Pill} state=${answer.status}>${answer.status === 'ok' ? en.run.ok : en.run.failed}<//></h2>
        ${answer.message && html`<p>${sentence(answer.message)}</p>`}
        ${answer.service_message && html`<p>${en.run.said} <q>${shown(answer.service_message)}</q></p>`}
        ${answer.authorization && html`<p class="note bad">${en.cause[answer.authorization.reason] ?? ''} <a href=${href(`/connectors/${encodeURIComponent(connector.id)}`)}>${en.run.authorize}</a></p>`}
        ${answer.retry && html`<p class="soft">${en.run.retry}</p>`}
        <pre tabindex="0" role="region" aria-label=${en.run.answer}>${pretty(answer.data ?? answer)}</pre>`}
    </div>
    ${request && html`<h3>${en.run.request}</h3>
      <pre tabindex="0" role="region" aria-label=${en.run.request}>${`POST ${prefix(place().space)}${connectorPath(connector.id)}/_execute\nauthorization: ApiKey vk_•••\ncontent-type: application/json\n\n${pretty(request)}`}</pre>
      <p class="soft small">${en.run.masked}</p>`}
    </section>
  </div>`;
}
