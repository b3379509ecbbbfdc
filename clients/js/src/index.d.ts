/** How to reach the server: the application's own back end, or valetkey itself inside a console session. */
export interface Transport {
  /** What stands before `/connector/…`; `/api/actions` if left out. */
  basePath?: string;
  /** Used instead of the browser's `fetch`. */
  fetch?: (url: string, init: RequestInit) => Promise<Response>;
  /** More headers, such as a token against forged requests. */
  headers?: Record<string, string>;
}

/** Which account. */
export interface Target extends Transport {
  connectorId: string;
  /** Which of the person's accounts; `default` if left out. */
  connection?: string;
}

export interface ConnectOptions extends Target {
  /** `redirect`: this tab leaves for the provider, and comes back to `returnUrl`. `new_tab`: a window does. */
  mode?: 'redirect' | 'new_tab';
  /** Where the browser comes back to. Its origin must be one that valetkey allows. */
  returnUrl?: string;
  /** How long to wait for the window, in milliseconds; ten minutes if left out. */
  timeout?: number;
  /** Cancels the flow. */
  signal?: AbortSignal;
  /** Called when the flow has begun at the server, before the browser leaves. */
  onStarted?: (started: { state: string; expiresAt: string }) => void;
  /** A part of the connector's scopes. */
  scopes?: string[];
  /** Whether valetkey's page asks before it leaves for the provider. */
  confirm?: boolean;
  /** Whether another account may take the place of the one that is connected. */
  allowAccountChange?: boolean;
  /** What an API demanded of the sign-in. */
  acrValues?: string;
  /** How many seconds old the sign-in may be. */
  maxAge?: number;
}

export interface Connected {
  connectorId: string;
}

/** A flow under way. */
export interface Flow {
  /** Whether the server has not answered yet. */
  isStarting: boolean;
  /** Settles when the flow is over. In the mode `redirect` only if it fails, because this page is left. */
  finished: Promise<Connected>;
  /** Ends the flow, here and at the server. */
  cancel(): Promise<void>;
  /** Stops waiting; the flow itself goes on. `finished` never settles then. */
  leave(): void;
}

export interface RedirectResult {
  connectorId: string;
  status: 'success' | 'error';
  statusCode: number;
  /** For people. */
  error?: string;
  /** Names the flow. */
  flow?: string;
}

/**
 * Why an account was not connected. `code` is the server's, or one of `window_blocked`, `window_closed`, `timeout`,
 * `cancelled`, `returned` (with the back button), `refused` (by the provider or by valetkey; `message` says why), `network`,
 * `http`, `bad_answer`.
 */
export class ConnectError extends Error {
  constructor(code: string, message: string, statusCode?: number);
  code: string;
  statusCode?: number;
}

/**
 * Connects an account. Call it while a click is handled, or the browser blocks the window.
 *
 * Resolves when the account is connected; rejects with a `ConnectError`, or with the signal's reason.
 */
export function connect(options: ConnectOptions): Promise<Connected>;

/** The same, for whoever needs more than a promise. */
export function begin(options: ConnectOptions): Flow;

/** Cancels what this page waits for, or the flow of a state. Its `connect` rejects with the code `cancelled`. */
export function cancel(options: Target & { state?: string }): Promise<void>;

/** Disconnects the person's account: here at once, and at the provider as far as that can be done. */
export function disconnect(options: Target): Promise<void>;

/**
 * On a page that is a return URL: reads what became of the flow, tells the page that waits for it, takes the parameters out
 * of the address, and closes the window if it was opened for the flow.
 *
 * `isExpected` says whether this tab left for that flow. Anybody can make a link with these parameters: show a result, but
 * ask the server before anything depends on it.
 */
export function readRedirectResult(): (RedirectResult & { isExpected: boolean }) | undefined;
