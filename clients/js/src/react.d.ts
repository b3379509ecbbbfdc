import type { ConnectOptions, RedirectResult, Target } from './index.js';

export interface ConnectorOAuthConnectOptions extends Omit<ConnectOptions, 'mode' | 'onStarted' | 'signal'> {
  /** `redirect` if left out. */
  redirectMode?: 'redirect' | 'new_tab';
  /** Only with `new_tab`: otherwise the page is left. */
  onSuccess?: () => void;
  onError?: (error: Error) => void;
}

/**
 * Connects an account. `connect` is to be called while a click is handled. `isConnecting` until the server has answered,
 * `isAwaitingCallback` while the person is at the provider. `cancelConnect` resets at once, calls nobody, and ends the flow.
 */
export function useConnectorOAuthConnect(options: ConnectorOAuthConnectOptions): {
  connect: () => void;
  cancelConnect: () => void;
  isConnecting: boolean;
  isAwaitingCallback: boolean;
};

/** On a page that is a return URL: says what became of the flow, tells the page that waits for it, and closes the window. */
export function useOAuthRedirectResult(options?: {
  onSuccess?: (connectorId: string, result: RedirectResult & { isExpected: boolean }) => void;
  onError?: (connectorId: string, error: Error, result: RedirectResult & { isExpected: boolean }) => void;
}): void;

/** Disconnects the person's account. */
export function useConnectorOAuthDisconnect(
  options: Target & { onSuccess?: () => void; onError?: (error: Error) => void },
): {
  disconnect: () => Promise<void>;
  isDisconnecting: boolean;
};
