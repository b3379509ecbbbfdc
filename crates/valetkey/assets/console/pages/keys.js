// API keys: a list, and a form whose result is shown once.
import { html, useState } from '../lib.js';
import { en } from '../en.js';
import { call, getPage, post, useData } from '../api.js';
import { Copy, Danger } from '../controls.js';
import { Filters, Nothing, Pages, Table } from '../list.js';
import { toast } from '../toasts.js';
import { ErrorNote, Field, Heading, Icon, Loading, Time } from '../ui.js';
import { go, href, place } from '../router.js';
import { useSession } from '../session.js';
import { shown } from '../text.js';

const PATH = '/api/security/api_keys';
const PAGE = 25;

export function Keys({ query }) {
  const { search, after } = query;
  const { data, error, loading, reload } = useData(
    (signal) => getPage(`${PATH}/_search`, { search, after, limit: PAGE }, 'keys', signal), [search, after]);
  const rows = data?.keys ?? [];
  const create = html`<a class="button" href=${href('/keys/new')}><${Icon} name="plus" /> ${en.keys.new}</a>`;
  const remove = (key) => async () => {
    await call('DELETE', `${PATH}/${encodeURIComponent(key.id)}`);
    toast(en.keys.deleted);
    reload();
  };
  const limits = (key) => [key.connectors?.length && `${en.keys.connectors}: ${key.connectors.length}`, key.actions?.length && `${en.keys.actions}: ${key.actions.length}`].filter(Boolean).join(', ');
  const columns = [
    { name: 'name', title: en.keys.name, cell: (k) => html`<span><strong>${shown(k.name)}</strong><span class="soft small block">${shown(k.id)}</span></span>` },
    { name: 'privileges', title: en.keys.privileges, cell: (k) => html`<span class="chips">${k.privileges.map((p) => html`<code key=${p}>${shown(p)}</code>`)}</span>${limits(k) && html`<span class="soft small block">${limits(k)}</span>` }` },
    { name: 'user', title: en.keys.user, cell: (k) => html`${k.profileUid ? shown(k.profileUid) : html`<span class="soft">${en.common.none}</span>`}` },
    { name: 'spaces', title: en.keys.spaces, cell: (k) => html`${k.spaces.map((s) => (s === '*' ? en.keys.all : shown(s))).join(', ')}` },
    { name: 'created', title: en.keys.created, cell: (k) => html`<${Time} at=${k.createdAt} />` },
    { name: 'expires', title: en.keys.expires, cell: (k) => html`<${Time} at=${k.expiration} none=${en.common.never} />` },
    { name: 'delete', title: '', end: true, cell: (k) => html`<${Danger} label=${en.common.delete} name=${`${en.common.delete}: ${shown(k.name)}`} title=${en.keys.deleteTitle(shown(k.name, 60))} text=${en.keys.deleteText} verb=${en.common.delete} onConfirm=${remove(k)} />` },
  ];
  return html`<${Heading} title=${en.keys.title} lead=${en.keys.lead}>${create}<//>
    ${(search || after || rows.length > 0) && html`<${Filters} path="/keys" query=${query} fields=${[{ name: 'search', label: en.keys.search }]} />`}
    <${ErrorNote} error=${error} retry=${reload} />
    ${loading && !data && html`<${Loading} />`}
    ${data && !rows.length && html`<${Nothing} icon="keys" filtered=${search} after=${after} next=${data.next} words=${en.keys}>${create}<//>`}
    ${rows.length > 0 && html`<${Table} label=${en.keys.title} columns=${columns} rows=${rows} id=${(k) => k.id} />`}
    <${Pages} path="/keys" query=${query} next=${data?.next} found=${rows.length > 0} />`;
}

export function NewKey() {
  const { can, privileges = [] } = useSession();
  const [made, setMade] = useState(null);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const create = async (event) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const text = (name) => String(form.get(name) ?? '').trim();
    const lines = (name) => text(name).split(/[\s,]+/).filter(Boolean);
    const chosen = form.getAll('privilege');
    if (!chosen.length) { setError({ message: en.keys.need }); return; }
    setBusy(true);
    setError(null);
    try {
      setMade(await post(PATH, {
        name: text('name'), privileges: chosen,
        ...(lines('spaces').length && { spaces: lines('spaces') }), ...(text('user') && { profileUid: text('user') }),
        ...(lines('connectors').length && { connectors: lines('connectors') }), ...(lines('actions').length && { actions: lines('actions') }),
        ...(text('expires') && { expiration: new Date(text('expires')).toISOString() }),
      }));
    } catch (refusal) { setError(refusal); setBusy(false); }
  };
  if (made) {
    return html`<${Heading} title=${en.keys.madeTitle} lead=${shown(made.name)} />
      <section class="panel" role="status" data-unsaved><p>${en.keys.made}</p><${Copy} text=${made.key} label=${en.session.key} />
        <div class="row"><button type="button" class="button" onClick=${() => { setMade(null); go(href('/keys')); }}>${en.keys.stored}</button></div></section>`;
  }
  return html`<p class="crumbs"><a href=${href('/keys')}>${en.keys.title}</a></p><${Heading} title=${en.keys.new} />
    <form class="form" onSubmit=${create} autocomplete="off"><${ErrorNote} error=${error} />
      <fieldset class="panel"><legend>${en.edit.general}</legend>
        <${Field} label=${en.keys.name} help=${en.keys.nameHelp} required>${(tied) => html`<input ...${tied} name="name" maxlength="255" autocomplete="off" />`}<//>
        <${Field} label=${en.keys.user} help=${en.keys.userHelp}>${(tied) => html`<input ...${tied} name="user" maxlength="255" autocomplete="off" spellcheck=${false} />`}<//>
        <${Field} label=${en.keys.expires}>${(tied) => html`<input ...${tied} name="expires" type="datetime-local" />`}<//>
      </fieldset>
      <fieldset class="panel privileges"><legend>${en.keys.privileges}</legend>${Object.entries(en.keys.help).filter(([p]) => can(p) || privileges.includes(p)).map(([privilege, help]) => html`<label key=${privilege} class="check"><input type="checkbox" name="privilege" value=${privilege} /><span><code>${privilege}</code><span class="soft small block">${help}</span></span></label>`)}</fieldset>
      <fieldset class="panel"><legend>${en.keys.limits}</legend>
        <${Field} label=${en.keys.spaces} help=${en.keys.spacesHelp}>${(tied) => html`<textarea ...${tied} name="spaces" rows="2" class="mono" placeholder=${place().space}></textarea>`}<//>
        <${Field} label=${en.keys.connectors} help=${en.keys.connectorsHelp}>${(tied) => html`<textarea ...${tied} name="connectors" rows="2" class="mono"></textarea>`}<//>
        <${Field} label=${en.keys.actions} help=${en.keys.actionsHelp}>${(tied) => html`<textarea ...${tied} name="actions" rows="2" class="mono"></textarea>`}<//>
      </fieldset>
      <div class="row end"><a class="button quiet" href=${href('/keys')}>${en.common.cancel}</a><button class="button" disabled=${busy}>${en.common.create}</button></div>
    </form>`;
}
