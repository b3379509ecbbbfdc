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
  // The texts are in the language of the page: one for each second that is left, and one for a window that stays.
  const note = document.getElementById('closing');
  const countdown = JSON.parse(note.dataset.countdown);
  const tick = () => {
    if (countdown.length === 0) {
      window.close();
      // A window that the person opened themselves does not close by script.
      note.textContent = note.dataset.close;
      return;
    }
    note.textContent = countdown.shift();
    setTimeout(tick, 1000);
  };
  tick();
})();
