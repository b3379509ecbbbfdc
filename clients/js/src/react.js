// The library as React hooks.
import { useCallback, useEffect, useRef, useState } from 'react';
import { begin, disconnect as disconnectAccount, readRedirectResult } from './index.js';

/** @template T @param {T} value */
function useLatest(value) {
  const latest = useRef(value);
  useEffect(() => {
    latest.current = value;
  });
  return latest;
}

/** @param {unknown} error */
const asError = (error) => (error instanceof Error ? error : new Error(String(error)));

/** @type {typeof import('./react.js').useConnectorOAuthConnect} */
export function useConnectorOAuthConnect(options) {
  const latest = useLatest(options);
  const flow = useRef(/** @type {import('./index.js').Flow | undefined} */ (undefined));
  const [stage, setStage] = useState(/** @type {'idle' | 'connecting' | 'awaiting'} */ ('idle'));

  const connect = useCallback(() => {
    const { redirectMode = 'redirect', onSuccess: _onSuccess, onError: _onError, ...rest } = latest.current;
    setStage('connecting');
    const current = begin({
      ...rest,
      mode: redirectMode,
      onStarted: () => flow.current === current && setStage('awaiting'),
    });
    // A double click gets the flow that is starting already.
    if (flow.current === current) return;
    flow.current = current;
    /** Whether this is still the flow that is shown. */
    const settle = () => {
      if (flow.current !== current) return false;
      flow.current = undefined;
      setStage('idle');
      return true;
    };
    current.finished.then(
      () => settle() && latest.current.onSuccess?.(),
      (error) => settle() && latest.current.onError?.(asError(error)),
    );
  }, [latest]);

  const cancelConnect = useCallback(() => {
    const current = flow.current;
    flow.current = undefined;
    setStage('idle');
    void current?.cancel();
  }, []);

  // The flow goes on in its window when the component is gone, and nobody is called.
  useEffect(
    () => () => {
      flow.current?.leave();
      flow.current = undefined;
    },
    [],
  );

  return { connect, cancelConnect, isConnecting: stage === 'connecting', isAwaitingCallback: stage === 'awaiting' };
}

/** @type {typeof import('./react.js').useOAuthRedirectResult} */
export function useOAuthRedirectResult(options = {}) {
  const latest = useLatest(options);
  useEffect(() => {
    const result = readRedirectResult();
    if (!result) return;
    if (result.status === 'success') latest.current.onSuccess?.(result.connectorId, result);
    else latest.current.onError?.(result.connectorId, new Error(result.error), result);
  }, [latest]);
}

/** @type {typeof import('./react.js').useConnectorOAuthDisconnect} */
export function useConnectorOAuthDisconnect(options) {
  const latest = useLatest(options);
  const isMounted = useRef(false);
  const [isDisconnecting, setDisconnecting] = useState(false);
  useEffect(() => {
    isMounted.current = true;
    return () => {
      isMounted.current = false;
    };
  }, []);

  const disconnect = useCallback(async () => {
    const { onSuccess: _onSuccess, onError: _onError, ...target } = latest.current;
    setDisconnecting(true);
    const failure = await disconnectAccount(target).then(() => undefined, asError);
    if (!isMounted.current) return;
    setDisconnecting(false);
    if (failure) latest.current.onError?.(failure);
    else latest.current.onSuccess?.();
  }, [latest]);

  return { disconnect, isDisconnecting };
}
