// What pages can do beyond being read: copy a block of code, and try an operation with a test key.
// Nothing here is needed to read a page, and nothing leaves for another host.

const CONSOLE = "details.console";
const KEY = /^test_[0-9A-Za-z]{24}\.[0-9A-Za-z]{30}$/;
const KEPT = "ally-test-key";
const SEEN = "ally-seen-ids";

const store = globalThis.sessionStorage;
const said = document.getElementById("said");

function make(name, attributes, ...children) {
  const element = Object.assign(document.createElement(name), attributes);
  element.append(...children);
  return element;
}

// --- Copying -------------------------------------------------------------------------------------

for (const figure of document.querySelectorAll("figure.code")) {
  const caption = figure.querySelector("figcaption");
  const word = make("span", {}, "Copy");
  const what = make("span", { className: "unseen" }, ` ${caption.textContent}`);
  const button = make("button", { type: "button", className: "copy" }, word, what);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(figure.querySelector("code").textContent);
      word.textContent = "Copied";
    } catch {
      word.textContent = "Not possible here";
    }
    said.textContent = word.textContent;
    setTimeout(() => { word.textContent = "Copy"; said.textContent = ""; }, 2000);
  });
  caption.append(button);
}

// A menu that was opened closes when something in it is chosen, or by Escape.
const menu = document.querySelector("details.menu");
menu.addEventListener("click", (event) => { if (event.target.closest("a")) menu.open = false; });
menu.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !menu.open) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});

// --- Trying --------------------------------------------------------------------------------------

let key = store.getItem(KEPT) ?? "";
let kept = key !== "";
const seen = JSON.parse(store.getItem(SEEN) ?? "{}"); // the latest id of each kind of object

// Of `patient`, `patientId` and the like, return the id that was seen last.
const latest = (name) => seen[name.replace(/Id$/, "")] ?? "";

function remember(answer) {
  if (answer === null || typeof answer !== "object") return;
  if (answer.object === "list") { answer.data.slice(0, 1).forEach(remember); return; }
  if (answer.deleted) delete seen[answer.object];
  else if (answer.id && answer.object) seen[answer.object] = answer.id;
  store.setItem(SEEN, JSON.stringify(seen));
  for (const each of consoles) each.fill();
}

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

class Console {
  constructor(root) {
    this.root = root;
    this.form = root.querySelector("form");
    this.inputs = [...this.form.querySelectorAll("[data-in]")];
    this.body = this.form.querySelector("textarea");
    this.example = this.body?.value;
    this.command = root.querySelector(".command code");
    this.status = root.querySelector(".status");
    this.shown = root.querySelector(".shown");
    this.form.addEventListener("input", (event) => this.changed(event.target));
    this.form.addEventListener("submit", (event) => { event.preventDefault(); this.send(); });
    this.fill();
    root.hidden = false;
  }

  // Put in what is known already, but nothing over what the reader wrote.
  fill() {
    this.form.elements.key.value = key;
    this.form.elements.keep.checked = kept;
    for (const input of this.inputs) {
      if (!input.dataset.written && latest(input.name)) input.value = latest(input.name);
    }
    if (this.body && !this.body.dataset.written) {
      this.body.value = this.example.replace(
        /"(\w+Id)": "[^"]*"/g,
        (whole, name) => (latest(name) ? `"${name}": "${latest(name)}"` : whole),
      );
    }
    this.write();
  }

  changed(input) {
    if (input.name === "key" || input.name === "keep") {
      key = this.form.elements.key.value.trim();
      kept = this.form.elements.keep.checked;
      if (kept && KEY.test(key)) store.setItem(KEPT, key);
      else store.removeItem(KEPT);
      for (const each of consoles) if (each !== this) each.fill();
    } else {
      input.dataset.written = "yes";
    }
    this.write();
  }

  get address() {
    const values = (where) => this.inputs.filter((input) => input.dataset.in === where);
    const path = values("path").reduce(
      (whole, input) => whole.replace(`{${input.name}}`, encodeURIComponent(input.value.trim()) || `{${input.name}}`),
      this.root.dataset.path,
    );
    const query = new URLSearchParams(
      values("query").filter((input) => input.value).map((input) => [input.name, input.value]),
    );
    return query.size ? `${path}?${query}` : path;
  }

  // Show the same call as a command, without the key.
  write() {
    const { method, site } = this.root.dataset;
    const lines = [
      `curl -X ${method} ${quoted(site + this.address)}`,
      '-H "Authorization: $ALLY_KEY"',
    ];
    if (this.body) lines.push("-H 'Content-Type: application/json'", `-d ${quoted(this.body.value)}`);
    this.command.textContent = lines.join(" \\\n  ");
  }

  // What keeps the call from being made, and the field to go to.
  problem() {
    if (key.startsWith("live_")) {
      return ["This is a live key. The console is for test mode: use a key that begins with test_.", this.form.elements.key];
    }
    if (!KEY.test(key)) return ["Put in your test key first: test_ and what follows it.", this.form.elements.key];
    const missing = this.inputs.find((input) => input.required && !input.value.trim());
    if (missing) return [`${missing.name} is required.`, missing];
    try {
      if (this.body) JSON.parse(this.body.value || "{}");
    } catch (error) {
      return [`The body is not JSON: ${error.message}.`, this.body];
    }
    return null;
  }

  async send() {
    const problem = this.problem();
    if (problem) {
      this.say(problem[0], false);
      problem[1].focus();
      return;
    }
    const { method } = this.root.dataset;
    const headers = { Authorization: key };
    if (this.body) headers["Content-Type"] = "application/json";
    if (method === "POST") headers["Idempotency-Key"] = crypto.randomUUID();
    this.say("Sending …", true);
    const began = performance.now();
    try {
      const answer = await fetch(this.address, {
        method, headers, body: this.body ? this.body.value || "{}" : undefined, credentials: "omit", cache: "no-store",
      });
      const text = await answer.text();
      const milliseconds = Math.round(performance.now() - began);
      const told = JSON.parse(text);
      this.say(`${answer.status} in ${milliseconds} ms · ${answer.headers.get("Request-Id")}`, answer.ok);
      const lines = [...answer.headers].map(([name, value]) => `${name}: ${value}`);
      this.root.querySelector(".headers code").textContent = lines.join("\n");
      this.root.querySelector(".told code").textContent = JSON.stringify(told, null, 2);
      this.shown.hidden = false;
      remember(told);
    } catch (error) {
      this.shown.hidden = true;
      this.say(`No answer: ${error.message}`, false);
    }
  }

  say(words, good) {
    this.status.textContent = words;
    this.status.classList.toggle("bad", !good);
  }
}

const consoles = [];
for (const root of document.querySelectorAll(CONSOLE)) consoles.push(new Console(root));
