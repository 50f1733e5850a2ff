/* Counts, for whoever made this page, what happens in it: views, steps of a booking, errors, times.
   It sends words of a fixed list and nothing else. It reads no text, form or address of the page,
   keeps nothing in the browser, sets no cookie, and sends nothing for whoever asks not to be
   tracked (Do Not Track, Global Privacy Control).

   <script src="https://…/ally.js" data-key="test_pub_…" data-view="home" async></script>

   Ally.view("availability"); Ally.step("window_chosen"); Ally.error("refused");
   Ally.timing("booking", 840); Ally.start({ token: () => user.getIdToken() }); */
(() => {
  "use strict";
  const script = document.currentScript;
  const address = new URL("/v1/frontend_events", script.src).href;
  let key = null; // a publishable key
  let token = null; // a function that returns, or promises, the ID token of who is signed in
  let left = 200; // events that one page sends at most, so that an error in a loop is no flood

  const unwanted = () => navigator.doNotTrack === "1" || navigator.globalPrivacyControl === true;

  const beacon = (fields) => {
    if (!key) return;
    fields.set("key", key);
    navigator.sendBeacon(address, fields);
  };

  const sign = (fields, idToken) =>
    fetch(address, {
      method: "POST",
      headers: { Authorization: `Bearer ${idToken}` },
      body: fields,
      keepalive: true, // beyond the end of the page
      credentials: "omit",
      referrerPolicy: "no-referrer",
    });

  const send = (event, milliseconds) => {
    if (unwanted() || (!key && !token) || left-- <= 0) return;
    try {
      const fields = new URLSearchParams({ event });
      if (milliseconds !== undefined) {
        fields.set("milliseconds", Math.round(Math.min(Math.max(milliseconds, 0), 600000)));
      }
      if (!token) beacon(fields);
      else {
        Promise.resolve(token())
          .then((idToken) => (idToken ? sign(fields, idToken) : beacon(fields)))
          .catch(() => {});
      }
    } catch (_) {
      // Counting never breaks a page.
    }
  };

  const Ally = {
    start(options) {
      key = options.key || key;
      token = options.token || token;
      if (options.view) Ally.view(options.view);
    },
    view: (name) => send(`view.${name}`),
    step: (name) => send(`step.${name}`),
    error: (name) => send(`error.${name}`),
    timing: (name, milliseconds) => send(`timing.${name}`, milliseconds),
  };
  window.Ally = Ally;

  addEventListener("error", () => Ally.error("script"));
  addEventListener("unhandledrejection", () => Ally.error("script"));
  const loaded = () => {
    const [page] = performance.getEntriesByType("navigation");
    if (page) Ally.timing("page_load", page.domContentLoadedEventEnd);
  };
  if (document.readyState === "complete") loaded();
  else addEventListener("load", loaded);

  Ally.start(script.dataset);
})();
