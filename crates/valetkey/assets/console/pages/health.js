// Flows, renewals and uses over time. Only this page loads the plots.
import { html, useEffect, useRef, useState } from '../lib.js';
import { en } from '../en.js';
import { get, useData } from '../api.js';
import { Filters, Table } from '../list.js';
import { Empty, ErrorNote, Heading, Loading, TypeIcon } from '../ui.js';
import { count, shown } from '../text.js';
import uPlot from '../vendor/uplot.mjs';

const SUBJECTS = ['flow', 'refresh', 'use'];

/** The sums of a subject: over time, and in all. */
function sums(series, length, subject, type) {
  const empty = () => new Array(length).fill(0);
  const found = { ok: empty(), failed: empty() };
  for (const s of series) {
    if (s.subject !== subject || (type && s.connector_type_id !== type)) continue;
    s.counts.forEach((n, at) => { found[s.outcome][at] = (found[s.outcome][at] ?? 0) + n; });
  }
  const total = (list) => list.reduce((a, b) => a + b, 0);
  return { ...found, allOk: total(found.ok), allFailed: total(found.failed) };
}

function Style() {
  useEffect(() => {
    const sheet = Object.assign(document.createElement('link'), { rel: 'stylesheet', href: new URL('../vendor/uplot.css', import.meta.url).href });
    document.head.append(sheet);
    return () => sheet.remove();
  }, []);
  return null;
}

/** One plot. Its numbers are also in the table below, for whoever does not see it. */
function Plot({ times, sums: data, label }) {
  const box = useRef(null);
  useEffect(() => {
    /** @type {any} */
    let plot = null;
    const dark = matchMedia('(prefers-color-scheme: dark)');
    // Hours within two days, dates beyond.
    const short = times.at(-1) - times[0] < 172_800;
    const format = new Intl.DateTimeFormat('en', short ? { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' } : { day: 'numeric', month: 'short' });
    const clock = (seconds) => format.format(seconds * 1000);
    const draw = () => {
      plot?.destroy();
      const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
      const axis = { stroke: color('--soft'), grid: { stroke: color('--line'), width: 1 }, ticks: { show: false }, font: '12px system-ui, sans-serif' };
      const line = (text, name) => ({ label: text, stroke: color(name), width: 2, fill: `${color(name)}22`, points: { show: false } });
      plot = new uPlot({
        width: box.current.clientWidth, height: 180, legend: { show: false }, cursor: { drag: { x: false, y: false }, points: { size: 6 } },
        padding: [8, 8, 0, 0], scales: { y: { range: (_, __, max) => [0, Math.max(4, max * 1.1)] } },
        axes: [{ ...axis, space: 70, size: 28, values: (_, all) => all.map(clock) }, { ...axis, size: 44, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 1e6, 1e7], values: (_, all) => all.map(count) }],
        series: [{}, line(en.health.ok, '--good'), line(en.health.failed, '--bad')],
      }, [times, data.ok, data.failed], box.current);
    };
    draw();
    const watch = new ResizeObserver(() => { if (plot && box.current) plot.setSize({ width: box.current.clientWidth, height: 180 }); });
    watch.observe(box.current);
    dark.addEventListener('change', draw);
    return () => { watch.disconnect(); dark.removeEventListener('change', draw); plot?.destroy(); };
  }, [times, data]);
  return html`<div class="plot" ref=${box} role="img" aria-label=${label}></div>`;
}

export function Health({ query }) {
  const hours = en.health.hours[query.hours] ? Number(query.hours) : 24;
  const { type } = query;
  const { data, error, loading, reload } = useData((signal) => get('/api/health', { hours }, signal), [hours]);
  const [drawn, setDrawn] = useState(null);
  useEffect(() => {
    if (!data) return;
    const length = Math.max(0, ...data.series.map((s) => s.counts.length));
    const start = Date.parse(data.from) / 1000;
    const times = Array.from({ length }, (_, at) => start + at * data.step_seconds);
    setDrawn({ times, subjects: SUBJECTS.map((s) => [s, sums(data.series, length, s, type)]) });
  }, [data, type]);
  const types = [...new Set((data?.series ?? []).map((s) => s.connector_type_id))].sort();
  const rows = types.filter((t) => !type || t === type).map((t) => ({ type: t, ...Object.fromEntries(SUBJECTS.map((s) => [s, sums(data.series, 0, s, t)])) }));
  const cell = (s) => (r) => html`${count(r[s].allOk)} ${r[s].allFailed > 0 && html`<span class="bad-text">· ${count(r[s].allFailed)} ${en.health.failed}</span>`}`;
  const columns = [
    { name: 'type', title: en.health.type, cell: (r) => html`<span class="named"><${TypeIcon} type=${r.type} /><code>${shown(r.type)}</code></span>` },
    ...SUBJECTS.map((s) => ({ name: s, title: en.health[s], cell: cell(s) })),
  ];
  return html`<${Style} /><${Heading} title=${en.health.title} lead=${en.health.lead}><button type="button" class="button quiet" onClick=${reload}>${en.health.reload}</button><//>
    <${Filters} path="/health" query=${query} fields=${[
      { name: 'hours', label: en.health.range, options: Object.entries(en.health.hours), fallback: '24' },
      { name: 'type', label: en.health.type, options: [['', en.health.every], ...types.map((t) => [t, shown(t)])] },
    ]} />
    <${ErrorNote} error=${error} retry=${reload} />
    ${loading && !data && html`<${Loading} />`}
    ${data && !types.length && html`<${Empty} icon="health" title=${en.health.empty} text=${en.health.emptyText} />`}
    ${drawn && types.length > 0 && html`<div class="plots">${drawn.subjects.map(([s, all]) => html`<section key=${s} class="panel" aria-labelledby=${`plot-${s}`}>
      <div class="plot-head"><div><h2 id=${`plot-${s}`}>${en.health[s]}</h2><p class="soft small">${en.health[`${s}Text`]}</p></div>
        <p class="plot-sums"><span class="key good-key">${count(all.allOk)} ${en.health.ok}</span><span class="key bad-key">${count(all.allFailed)} ${en.health.failed}</span></p></div>
      <${Plot} times=${drawn.times} sums=${all} label=${en.health.plot(en.health[s], count(all.allOk), count(all.allFailed))} /></section>`)}</div>
      <h2>${en.health.byType}</h2><${Table} label=${en.health.byType} columns=${columns} rows=${rows} id=${(r) => r.type} />`}`;
}
