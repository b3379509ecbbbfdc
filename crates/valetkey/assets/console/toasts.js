// What is said in passing, in the corner of the page.
import { html, useEffect, useState } from './lib.js';
import { en } from './en.js';
import { sentence } from './ui.js';
import { shown } from './text.js';

/** @type {((text: string, tone?: string, id?: string) => void)} */
let say = () => {};
/** Says something in passing. @param {string} text @param {'good' | 'bad'} [tone] @param {string} [requestId] */
export const toast = (text, tone = 'good', requestId = '') => say(text, tone, requestId);
/** @param {any} error */
export const toastError = (error) => toast(sentence(error?.message ?? en.error.title), 'bad', error?.requestId ?? '');

/** What is said in passing. The region is there from the start, so that screen readers hear of changes. */
export function Toasts() {
  const [list, set] = useState([]);
  useEffect(() => {
    let number = 0;
    say = (text, tone, requestId) => {
      const id = (number += 1);
      set((old) => [...old.slice(-2), { id, text, tone, requestId }]);
      if (tone !== 'bad') setTimeout(() => set((old) => old.filter((t) => t.id !== id)), 6000);
    };
  }, []);
  return html`<div class="toasts" aria-live="polite" aria-atomic="false">
    ${list.map((t) => html`<div key=${t.id} class=${`toast ${t.tone}`}>
      <div>${t.text}${t.requestId && html`<div class="soft">${en.error.request}: <code>${shown(t.requestId)}</code></div>`}</div>
      <button type="button" class="dismiss" aria-label=${en.common.dismiss} onClick=${() => set((old) => old.filter((o) => o.id !== t.id))}>×</button>
    </div>`)}
  </div>`;
}
