// Forms made from JSON Schemas: which inputs there are, and how what was typed becomes a value again.
import { html } from './lib.js';
import { en } from './en.js';
import { Field, sentence } from './ui.js';
import { shown } from './text.js';

/** The order in which people expect them; what is not here follows by name. */
const ORDER = ['baseUrl', 'issuer', 'authorizationUrl', 'tokenUrl', 'clientId', 'clientSecret', 'scope', 'username', 'password', 'headerField', 'apiKey', 'token', 'method', 'path', 'query', 'headers', 'body'];
/** Fields of OAuth clients that few providers need. */
const ADVANCED = new Set(['issuer', 'useBasicAuth', 'scopeParamName', 'accessTokenPath', 'tokenTypePath', 'tokenType', 'revocationUrl', 'pushedAuthorizationUrl', 'resource', 'extraParams', 'rotation', 'tokenEndpointAuthMethod', 'additionalFields']);

const types = (schema) => [schema.type ?? []].flat();

/** The values that a schema names, also where it takes others besides. @returns {any[]} */
const choices = (schema) => schema.enum ?? [schema.oneOf ?? schema.anyOf ?? []].flat().flatMap((s) => s.enum ?? (s.const === undefined ? [] : [s.const]));

/** How a field is entered. */
export function kind(name, schema) {
  const type = types(schema);
  if (choices(schema).length) return 'choice';
  if (type.includes('array') && schema.items?.enum) return 'some';
  if (schema.writeOnly) return /privatekey|certificate|pem$/i.test(name) ? 'secret-lines' : 'secret';
  if (type.includes('boolean')) return 'boolean';
  if (type.includes('integer') || type.includes('number')) return 'number';
  if (type.includes('array') && types(schema.items ?? {}).includes('string')) return 'lines';
  if (type.includes('object') && types(schema.additionalProperties ?? {}).join() === 'string') return 'pairs';
  if (type.includes('string') && type.length === 1) return (schema.maxLength ?? 0) >= 1000 && schema.format !== 'uri' && !/url$|^path$/i.test(name) ? 'text' : 'line';
  if (type.includes('string')) return 'line';
  return type.length ? 'json' : 'any';
}

/** The fields of a schema in order: those that everybody sees, and the others. */
export function fields(schema, { split = false } = {}) {
  const required = new Set(schema?.required ?? []);
  const rank = (name) => (ORDER.indexOf(name) + 1 || ORDER.length + 1) - (required.has(name) ? 0.5 : 0);
  const all = Object.entries(schema?.properties ?? {})
    .filter(([, s]) => !s['x-hidden'] && !s['x-locked'])
    .map(([name, s]) => ({ name, schema: s, required: required.has(name), kind: kind(name, s) }))
    .sort((a, b) => rank(a.name) - rank(b.name) || a.name.localeCompare(b.name));
  const advanced = (f) => split && !f.required && ADVANCED.has(f.name);
  return { first: all.filter((f) => !advanced(f)), more: all.filter(advanced) };
}

/** A value as it is typed. */
export function typed(field, value) {
  if (value === undefined || value === null) return field.kind === 'boolean' ? field.schema.default === true : '';
  if (field.kind === 'boolean') return value === true;
  if (field.kind === 'lines' || field.kind === 'some') return [value].flat().join('\n');
  if (field.kind === 'pairs' && typeof value === 'object') return Object.entries(value).map(([n, v]) => `${n}=${v}`).join('\n');
  if (typeof value === 'object') return JSON.stringify(value, null, 2);
  return String(value);
}

/** What was typed, as a value; `undefined` for nothing. Throws what is wrong with it. */
export function parsed(field, text) {
  if (field.kind === 'boolean') return text === true;
  if (text === '' || text === undefined) return undefined;
  const name = shown(field.schema.title ?? field.name);
  const lines = () => text.split('\n').map((l) => l.trim()).filter(Boolean);
  switch (field.kind) {
    case 'number': return Number(text);
    case 'choice': {
      const chosen = choices(field.schema).find((v) => String(v) === text);
      if (chosen !== undefined || field.schema.enum) return chosen;
      try { return JSON.parse(text); } catch { throw new Error(`${name} ${en.edit.badJson}`); }
    }
    case 'lines': case 'some': return lines();
    case 'pairs': return Object.fromEntries(lines().map((line) => {
      const at = line.indexOf('=');
      if (at < 1) throw new Error(`${name} ${en.edit.badPair}`);
      return [line.slice(0, at).trim(), line.slice(at + 1).trim()];
    }));
    case 'json': try { return JSON.parse(text); } catch { throw new Error(`${name} ${en.edit.badJson}`); }
    case 'any': try { return JSON.parse(text); } catch { return text; }
    default: return text;
  }
}

/** All values of a form. */
export function collect(list, values) {
  return Object.fromEntries(list.map((f) => [f.name, parsed(f, values[f.name])]).filter(([, v]) => v !== undefined));
}

/** What a form starts with. */
export function initial(list, given = {}, defaults = true) {
  return Object.fromEntries(list.map((f) => [f.name, typed(f, given[f.name] ?? (defaults ? f.schema.default : undefined))]));
}

const HELP = { lines: en.edit.lines, pairs: en.edit.pairs, json: en.edit.json, any: en.edit.jsonOrText };

/** `nextPage` and `next_page` as people write it. */
export const spaced = (/** @type {string} */ name) => {
  const words = name.replace(/([a-z0-9])([A-Z])/g, '$1 $2').replaceAll('_', ' ').toLowerCase();
  return words.charAt(0).toUpperCase() + words.slice(1);
};

/** One of the values that the schema names; where it takes others too, those as JSON. */
function Choice({ field, value, onChange, tied, required }) {
  const named = choices(field.schema).map(String);
  const other = !field.schema.enum && value !== '' && value !== undefined && !named.includes(value);
  const set = (event) => onChange(field.name, event.currentTarget.value);
  return html`<select ...${tied} required=${required} name=${field.name} onChange=${set} value=${value ?? ''}>
      <option value="" selected=${!value}>${field.required ? en.edit.choose : en.edit.notSet}</option>
      ${named.map((v) => html`<option key=${v} value=${v} selected=${value === v}>${shown(v)}</option>`)}
      ${!field.schema.enum && html`<option value=${other ? value : '{}'} selected=${other}>${en.edit.other}</option>`}</select>
    ${other && html`<textarea class="mono" rows="2" aria-label=${`${shown(field.schema.title ?? spaced(field.name))}: ${en.edit.json}`} value=${value} onInput=${set} spellcheck=${false}></textarea>`}`;
}

/** Any of the values that the schema names. */
function Some({ field, value, onChange, label, help }) {
  const has = new Set(String(value ?? '').split('\n').filter(Boolean));
  const set = (name) => (event) => {
    if (event.currentTarget.checked) has.add(name);
    else has.delete(name);
    onChange(field.name, [...has].join('\n'));
  };
  return html`<fieldset class="field some"><legend>${label}${!field.required && html` <span class="soft">(${en.common.optional})</span>`}</legend>
    ${field.schema.items.enum.map(String).map((v) => html`<label key=${v} class="check"><input type="checkbox" checked=${has.has(v)} onChange=${set(v)} /> ${shown(v)}</label>`)}
    ${help && html`<p class="help">${help}</p>`}</fieldset>`;
}

/** One field. */
export function Input({ field, value, onChange, kept = false, error = '' }) {
  const { schema, name } = field;
  const label = shown(schema.title ?? spaced(name));
  const help = [schema.description && sentence(schema.description), HELP[field.kind]].filter(Boolean).join(' ');
  const set = (event) => onChange(name, event.currentTarget.value);
  if (field.kind === 'boolean') {
    return html`<div class="field"><label class="check"><input type="checkbox" checked=${value === true} onChange=${(e) => onChange(name, e.currentTarget.checked)} /> ${label}</label>
      ${help && html`<p class="help">${help}</p>`}</div>`;
  }
  if (field.kind === 'some') return html`<${Some} field=${field} value=${value} onChange=${onChange} label=${label} help=${help} />`;
  const wide = ['lines', 'pairs', 'json', 'any', 'text', 'secret-lines'].includes(field.kind);
  const required = field.required && !kept;
  return html`<${Field} label=${label} help=${help} error=${error} required=${required || kept} wide=${wide}>${(tied) => {
    const props = { ...tied, name, required, value: value ?? '', onInput: set, placeholder: kept ? en.edit.kept : shown(schema['x-placeholder'] ?? ''), spellcheck: false };
    switch (field.kind) {
      case 'choice': return html`<${Choice} field=${field} value=${value} onChange=${onChange} tied=${tied} required=${required} />`;
      case 'number': return html`<input ...${props} type="number" min=${schema.minimum} max=${schema.maximum} step=${types(schema).includes('integer') ? 1 : 'any'} />`;
      case 'secret': return html`<input ...${props} type="password" autocomplete="new-password" />`;
      case 'secret-lines': return html`<textarea ...${props} class="veiled" rows="4" autocomplete="off"></textarea>`;
      case 'text': return html`<textarea ...${props} rows="3" maxlength=${schema.maxLength} autocomplete="off"></textarea>`;
      case 'lines': case 'pairs': case 'json': case 'any': return html`<textarea ...${props} class="mono" rows="3" autocomplete="off"></textarea>`;
      default: return html`<input ...${props} type=${schema.format === 'uri' ? 'url' : 'text'} minlength=${schema.minLength} maxlength=${schema.maxLength} autocomplete="off" />`;
    }
  }}<//>`;
}

/** Which field a message of the API is about: `config.baseUrl: must be …; …`. */
export function fieldErrors(message) {
  /** @type {Record<string, string>} */
  const found = {};
  for (const part of String(message ?? '').split('; ')) {
    const match = /^([\w.[\]/-]+): (.+)$/.exec(part);
    if (match) found[match[1].replace(/^.*[./]/, '')] = sentence(match[2]);
  }
  return found;
}
