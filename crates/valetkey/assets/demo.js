// Keeps the numbers of the page up to date. Everything else works without it.
(() => {
  // What valetkey added to the return URL is shown; a reload should not show it again.
  if (location.search) history.replaceState(null, '', location.pathname + location.hash);

  const { status } = document.body.dataset;
  const $ = (id) => document.getElementById(id);
  let end = performance.now() + Number($('life')?.getAttribute('value') ?? 0);

  const tick = () => {
    const left = Math.max(0, end - performance.now());
    $('left').textContent = `${Math.ceil(left / 1000)} s`;
    $('life').value = left;
  };

  const look = async () => {
    const answer = await fetch('/state', { cache: 'no-store' });
    if (!answer.ok) return;
    const now = await answer.json();
    if (now.status !== status) {
      location.reload();
      return;
    }
    if (status !== 'connected') return;
    end = performance.now() + now.expires_in_ms;
    $('life').max = now.lifetime_ms;
    $('renewed').textContent = now.renewed;
    if (now.account) $('account').textContent = now.account;
    $('tokens').replaceChildren(...now.tokens.map((token) => {
      const item = document.createElement('li');
      item.append(Object.assign(document.createElement('code'), { textContent: token }));
      return item;
    }));
    tick();
  };

  const again = async () => {
    // A page that nobody looks at asks for nothing; the demo may also have been stopped.
    if (!document.hidden) await look().catch(() => {});
    setTimeout(again, 1000);
  };
  setTimeout(again, 1000);
  if (status === 'connected') setInterval(tick, 250);
})();
