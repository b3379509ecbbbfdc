// The same page with React and the hooks.
import { useConnectorOAuthConnect, useConnectorOAuthDisconnect, useOAuthRedirectResult } from '@valetkey/client/react';
import { StrictMode, createElement as h, useState } from 'react';
import { createRoot } from 'react-dom/client';

const account = { connectorId: document.body.dataset.connector, basePath: '/api/valetkey' };

function Account() {
  const [text, say] = useState('Ready');
  const onSuccess = () => say('Connected');
  const onError = (error) => say(`Not connected: ${error.message}`);
  useOAuthRedirectResult({ onSuccess, onError: (_connectorId, error) => onError(error) });
  const inWindow = useConnectorOAuthConnect({
    ...account,
    redirectMode: 'new_tab',
    returnUrl: `${location.origin}/return`,
    onSuccess,
    onError,
  });
  const inTab = useConnectorOAuthConnect({ ...account, returnUrl: `${location.origin}/react`, onError });
  const { disconnect, isDisconnecting } = useConnectorOAuthDisconnect({ ...account, onSuccess: () => say('Not connected'), onError });
  const isBusy = inWindow.isConnecting || inWindow.isAwaitingCallback;
  return h(
    'main',
    null,
    h('h1', null, 'Your account'),
    h('p', { role: 'status', id: 'status' }, isBusy ? 'Waiting for you to finish at the provider' : text),
    h(
      'p',
      { className: 'actions' },
      h('button', { onClick: inWindow.connect }, 'Connect in a window'),
      h('button', { onClick: inTab.connect }, 'Connect in this tab'),
      h('button', { onClick: inWindow.cancelConnect, disabled: !isBusy }, 'Cancel'),
      h('button', { onClick: disconnect, disabled: isDisconnecting }, 'Disconnect'),
    ),
  );
}

createRoot(document.getElementById('root')).render(h(StrictMode, null, h(Account)));
