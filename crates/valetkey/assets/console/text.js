// Text that others wrote, times, and values as people read them.

/** The longest text that is shown of what others wrote. */
const MAX_TEXT = 200;
/** The longest answer of a service that is shown. */
const MAX_ANSWER = 50_000;

// Controls, format characters (bidi marks, zero width, tags), line and paragraph separators, private use, lone surrogates.
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cs}]/gu;
const UNSEEN_BUT_LINES = /(?![\n\t])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cs}]/gu;

/**
 * What somebody else wrote, made fit to be shown: without characters that change how the rest is read, and cut.
 * @param {unknown} value
 * @param {number} [limit]
 */
export function shown(value, limit = MAX_TEXT) {
  const text = String(value ?? '').slice(0, limit * 8).replace(UNSEEN, ' ').replace(/\s+/g, ' ').trim();
  const chars = Array.from(text);
  return chars.length > limit ? `${chars.slice(0, limit).join('')}…` : text;
}

const SECRET_NAME = /token|secret|password|passwd|authorization|api[-_]?key|cookie|private[-_]?key|credential/i;
const SECRET_VALUE = /\b(vk_[A-Za-z0-9_-]{6,}|(?:Bearer|Basic|ApiKey)\s+[A-Za-z0-9._~+/=-]{8,}|xox[a-z]-[A-Za-z0-9-]{8,}|eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*)/g;

/**
 * A value without what looks like a secret, by its name or by its form.
 * @param {unknown} value
 * @returns {unknown}
 */
export function masked(value) {
  if (typeof value === 'string') return value.replace(SECRET_VALUE, '•••');
  if (Array.isArray(value)) return value.map(masked);
  if (!value || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => {
    const hide = SECRET_NAME.test(name) && ['string', 'number'].includes(typeof inner) && inner !== '';
    return [name, hide ? '•••' : masked(inner)];
  }));
}

/**
 * A value as indented JSON that is safe to show.
 * @param {unknown} value
 */
export function pretty(value) {
  const text = (JSON.stringify(masked(value), null, 2) ?? '').replace(UNSEEN_BUT_LINES, ' ');
  return text.length > MAX_ANSWER ? `${text.slice(0, MAX_ANSWER)}\n…` : text;
}

const full = new Intl.DateTimeFormat('en', { dateStyle: 'medium', timeStyle: 'medium' });
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });
/** @type {[Intl.RelativeTimeFormatUnit, number][]} */
const UNITS = [['year', 31_557_600], ['month', 2_629_800], ['day', 86_400], ['hour', 3_600], ['minute', 60]];

/** @param {string} time */
export const fullTime = (time) => full.format(new Date(time));

/**
 * How long ago, or how far off.
 * @param {string} time
 */
export function ago(time) {
  const seconds = (Date.parse(time) - Date.now()) / 1000;
  if (Number.isNaN(seconds)) return '';
  for (const [unit, size] of UNITS) {
    if (Math.abs(seconds) >= size) return relative.format(Math.round(seconds / size), unit);
  }
  return seconds > 0 ? 'in less than a minute' : 'just now';
}

/** @param {number} number */
export const count = (number) => new Intl.NumberFormat('en').format(number);
