// What the person who is signed in has connected, and could connect.
import { html } from '../lib.js';
import { en } from '../en.js';
import { getPage, useData } from '../api.js';
import { authorize } from '../flow.js';
import { Busy } from '../controls.js';
import { Empty, ErrorNote, Facts, Heading, Loading, Scopes, Time, TypeIcon } from '../ui.js';
import { href } from '../router.js';
import { useSession } from '../session.js';
import { Actions, State, Why, offers } from '../standing.js';
import { shown } from '../text.js';
import { accountName } from './connections.js';

export function Mine() {
  const { can, profile_uid: user } = useSession();
  const load = async (signal) => {
    if (!user) return null;
    const [own, offered] = await Promise.all([
      getPage('/api/actions/connections/_me', { limit: 200 }, 'connections', signal),
      can('oauth:connect') ? offers(signal) : Promise.resolve([]),
    ]);
    const have = new Set(own.connections.map((c) => c.connector_id));
    return { own: own.connections, free: offered.filter((c) => !have.has(c.id)) };
  };
  const { data, error, loading, reload } = useData(load, [user]);
  const heading = html`<${Heading} title=${en.mine.title} lead=${en.mine.lead} />`;
  if (!user) return html`${heading}<${Empty} icon="mine" title=${en.mine.noUser} text=${en.mine.noUserText} />`;
  return html`${heading}
    <${ErrorNote} error=${error} retry=${reload} />
    ${loading && !data && html`<${Loading} />`}
    ${data && !data.own.length && !data.free.length && html`<${Empty} icon="mine" title=${en.mine.nothing} text=${en.mine.nothingText} />`}
    ${data && !data.own.length && data.free.length > 0 && html`<${Empty} icon="mine" title=${en.mine.empty} text=${en.mine.emptyText} />`}
    <ul class="cards">${(data?.own ?? []).map((c) => html`<li key=${`${c.connector_id} ${c.connection}`} class="panel connection">
      <div class="tile-head"><${TypeIcon} type=${c.connector_type_id} /><div class="grow"><h2>${shown(c.connector_name)}</h2>${c.connection !== 'default' && html`<code class="soft">${shown(c.connection)}</code>`}</div><${State} state=${c.state} notice=${c.notice} /></div>
      <${Why} cause=${c.cause} notice=${c.notice} />
      <${Facts} items=${[
        [en.mine.as, html`<strong>${accountName(c.account) || en.common.unknown}</strong>`], [en.mine.since, html`<${Time} at=${c.connected_at} />`],
        [en.mine.used, html`<${Time} at=${c.used_at} none=${en.common.never} />`],
        [en.mine.scopes, c.scopes?.length > 6 ? html`<details><summary>${en.mine.scopesCount(c.scopes.length)}</summary><${Scopes} scopes=${c.scopes} /></details>` : html`<${Scopes} scopes=${c.scopes} none=${en.connections.noScopes} />`],
      ]} />
      <${Actions} c=${c} name=${shown(c.connector_name)} back=${href('/mine')} onDone=${reload} />
    </li>`)}</ul>
    ${data?.free.length > 0 && html`<h2>${en.mine.available}</h2>
      <ul class="rows">${data.free.map((c) => html`<li key=${c.id} class="panel line"><${TypeIcon} type=${c.connector_type_id} /><span class="grow">${shown(c.name)}</span>
        ${can('oauth:connect') && html`<${Busy} kind="button" label=${en.mine.connect} name=${`${en.mine.connect}: ${shown(c.name)}`} action=${() => authorize(c.id, href('/mine'))} />`}</li>`)}</ul>`}`;
}
