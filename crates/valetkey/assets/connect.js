// The button works once the page was in view for half a second: a click that was meant for something that lay on top of it
// a moment ago does not say yes here. Without this script it is a plain link.
(() => {
  const WAIT_MS = 500;
  const link = document.getElementById('continue');
  let timer;

  const look = () => {
    clearTimeout(timer);
    link.setAttribute('aria-disabled', 'true');
    if (document.visibilityState !== 'visible') return;
    timer = setTimeout(() => link.removeAttribute('aria-disabled'), WAIT_MS);
  };

  const keep = (event) => {
    if (link.getAttribute('aria-disabled') === 'true') event.preventDefault();
  };
  link.addEventListener('click', keep);
  link.addEventListener('auxclick', keep);
  document.addEventListener('visibilitychange', look);
  // A window that comes to the front was "visible" all the time, and perhaps covered.
  addEventListener('focus', look);
  addEventListener('pageshow', look);
  look();
})();
