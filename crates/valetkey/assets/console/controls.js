// Buttons that do more than lead somewhere: they copy, take a moment, or ask before.
import { html, Fragment, useEffect, useId, useRef, useState } from './lib.js';
import { en } from './en.js';
import { toast, toastError } from './toasts.js';
import { ErrorNote, Icon } from './ui.js';

export function Copy({ text, label }) {
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      toast(en.common.copied);
    } catch { toast(en.common.copyFailed, 'bad'); }
  };
  return html`<div class="copy"><code>${text}</code>
    <button type="button" class="button quiet" onClick=${copy} aria-label=${`${en.common.copy}: ${label}`}><${Icon} name="copy" /> ${en.common.copy}</button></div>`;
}

/** Asks before something that cannot be taken back. */
export function Confirm({ title, text, verb, onConfirm, onClose }) {
  const dialog = useRef(null);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const label = useId();
  useEffect(() => { dialog.current?.showModal(); }, []);
  const confirm = async () => {
    setBusy(true);
    setError(null);
    try { await onConfirm(); onClose(); } catch (refusal) { setError(refusal); setBusy(false); }
  };
  return html`<dialog ref=${dialog} aria-labelledby=${label} onClose=${onClose}>
    <h2 id=${label}>${title}</h2><p>${text}</p>
    <${ErrorNote} error=${error} />
    <div class="row end">
      <button type="button" class="button quiet" autofocus onClick=${() => dialog.current?.close()}>${en.common.cancel}</button>
      <button type="button" class="button danger" disabled=${busy} onClick=${confirm}>${verb}</button>
    </div>
  </dialog>`;
}

/** A button that asks first. */
export function Danger({ label, name = '', title, text, verb, onConfirm, quiet = true }) {
  const [open, setOpen] = useState(false);
  return html`<${Fragment}>
    <button type="button" class=${quiet ? 'button quiet danger-text' : 'button danger'} aria-label=${name || undefined} onClick=${() => setOpen(true)}>${label}</button>
    ${open && html`<${Confirm} title=${title} text=${text} verb=${verb} onConfirm=${onConfirm} onClose=${() => setOpen(false)} />`}
  <//>`;
}

/** A button for something that takes a moment. */
export function Busy({ label, busyLabel = '', action, kind = 'button', disabled = false, name = '' }) {
  const [busy, setBusy] = useState(false);
  const run = async () => {
    setBusy(true);
    try { await action(); } catch (error) { toastError(error); } finally { setBusy(false); }
  };
  return html`<button type="button" class=${kind} disabled=${busy || disabled} aria-label=${name || undefined} onClick=${run}>${busy && busyLabel ? busyLabel : label}</button>`;
}
