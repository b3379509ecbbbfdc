// What every module draws with: Preact, its hooks, and templates instead of a build step.
import { h } from './vendor/preact.mjs';
import htm from './vendor/htm.mjs';

export { render, Fragment, createContext } from './vendor/preact.mjs';
export { useState, useEffect, useLayoutEffect, useRef, useContext, useMemo, useId, useCallback, useErrorBoundary } from './vendor/hooks.mjs';
export const html = htm.bind(h);
