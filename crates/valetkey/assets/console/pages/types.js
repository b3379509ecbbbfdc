// The catalogue of connector types.
import { html } from '../lib.js';
import { en } from '../en.js';
import { get, useData } from '../api.js';
import { Filters } from '../list.js';
import { Empty, ErrorNote, Heading, Loading, sentence, TypeIcon } from '../ui.js';
import { href } from '../router.js';
import { useSession } from '../session.js';
import { shown } from '../text.js';

export function Types({ query }) {
  const { can } = useSession();
  const { data, error, loading, reload } = useData((signal) => get('/api/actions/connector_types', {}, signal), []);
  const wanted = (query.search ?? '').toLowerCase();
  const found = (data ?? []).filter((t) => `${t.name} ${t.id} ${t.description}`.toLowerCase().includes(wanted));
  return html`<${Heading} title=${en.types.title} lead=${en.types.lead} />
    <${Filters} path="/types" query=${query} fields=${[{ name: 'search', label: en.types.search }]} />
    <${ErrorNote} error=${error} retry=${reload} />
    ${loading && !data && html`<${Loading} />`}
    ${data && !found.length && html`<${Empty} title=${en.types.empty} text=${en.types.emptyText} icon="search" />`}
    <ul class="tiles">${found.map((t) => html`<li key=${t.id} class="tile">
      <div class="tile-head"><${TypeIcon} type=${t.id} /><div><h2>${shown(t.name)} ${t.is_technical_preview && html`<span class="pill plain">${en.types.preview}</span>`}</h2><code class="soft">${shown(t.id)}</code></div></div>
      <p>${sentence(t.description)}</p>
      <p class="soft small">${t.auth_types.map((a) => en.auth[a] ?? shown(a)).join(' · ')}</p>
      ${can('connectors:write') && html`<p class="tile-foot"><a class="button quiet" href=${href('/connectors/new', { type: t.id })} aria-label=${`${en.types.create}: ${shown(t.name)}`}>${en.types.create}</a></p>`}
    </li>`)}</ul>`;
}
