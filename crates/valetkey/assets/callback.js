// Tells the page that started the flow how it ended, and closes this window.
(() => {
  // The provider was in this window: whoever comes after it here must not reach the page that opened it.
  window.opener = null;
  const { connectorId, flow, status, statusCode, error } = document.body.dataset;
  // Any page of this origin can listen and post here. `flow` says nothing to those that did not start it, and lets the one
  // that did tell this message from a forged one.
  const message = { connectorId, flow, status, statusCode: Number(statusCode) };
  if (error) message.error = error;
  if ('BroadcastChannel' in window) {
    const channel = new BroadcastChannel('oauth_flow_completed');
    channel.postMessage(message);
    channel.close();
  }
  const note = document.getElementById('closing');
  let left = 3;
  const tick = () => {
    if (left === 0) {
      window.close();
      // A window that the person opened themselves does not close by script.
      note.textContent = 'You can close this window.';
      return;
    }
    note.textContent = `This window closes in ${left} ${left === 1 ? 'second' : 'seconds'}.`;
    left -= 1;
    setTimeout(tick, 1000);
  };
  tick();
})();
