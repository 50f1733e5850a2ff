// What pages can do beyond working: copy a text, take a code out of the address, close a menu, lead
// to what is wrong with a form. Every page works without it, and nothing leaves for another host.

const said = document.getElementById("said");

function tell(text) {
  said.textContent = text;
  setTimeout(() => { said.textContent = ""; }, 2000);
}

function addCopying(place, text, what) {
  const button = document.createElement("button");
  const unseen = Object.assign(document.createElement("span"), { className: "unseen", textContent: ` ${what}` });
  const word = document.createTextNode("Copy");
  Object.assign(button, { type: "button", className: "copy" }).append(word, unseen);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
      word.textContent = "Copied";
    } catch {
      word.textContent = "Not possible here";
    }
    tell(word.textContent);
    setTimeout(() => { word.textContent = "Copy"; }, 2000);
  });
  place.append(button);
}

for (const figure of document.querySelectorAll("figure.code")) {
  const caption = figure.querySelector("figcaption");
  addCopying(caption, () => figure.querySelector("code").textContent, caption.textContent);
}
for (const code of document.querySelectorAll("code.copied")) {
  addCopying(code.parentElement, () => code.textContent, code.textContent);
}

// A code of a mail comes behind the # of the link, where no server sees it.
const field = document.querySelector("input[data-from-fragment]");
if (field && location.hash.length > 1) {
  field.value = decodeURIComponent(location.hash.slice(1));
  history.replaceState(null, "", location.pathname + location.search);
}

for (const menu of document.querySelectorAll("details.menu")) {
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
  document.addEventListener("click", (event) => { if (!menu.contains(event.target)) menu.open = false; });
}

document.getElementById("problems")?.focus();
