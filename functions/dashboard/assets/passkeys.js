// Passkeys: the browser makes one, or proves one, and the form brings its answer along (WebAuthn).

for (const place of document.querySelectorAll("[data-needs-script]")) {
  place.hidden = !window.PublicKeyCredential;
}

const bytes = (text) => Uint8Array.from(
  atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0),
);
const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)))
  .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

function asked(options) {
  const told = JSON.parse(options).publicKey;
  told.challenge = bytes(told.challenge);
  if (told.user) told.user.id = bytes(told.user.id);
  for (const list of [told.allowCredentials, told.excludeCredentials]) {
    for (const each of list ?? []) each.id = bytes(each.id);
  }
  return { publicKey: told };
}

function answered(credential) {
  const { response } = credential;
  const told = { clientDataJSON: text(response.clientDataJSON) };
  for (const name of ["attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (response[name]) told[name] = text(response[name]);
  }
  const id = text(credential.rawId);
  return JSON.stringify({ id, rawId: id, type: credential.type, response: told, clientExtensionResults: {} });
}

for (const field of document.querySelectorAll("input[data-passkey]")) {
  const { form } = field;
  form.addEventListener("submit", async (event) => {
    if (field.value) return;
    event.preventDefault();
    const problem = form.querySelector("[role=alert]");
    problem.hidden = true;
    try {
      const credential = await navigator.credentials[field.dataset.passkey](asked(field.dataset.options));
      field.value = answered(credential);
      form.submit();
    } catch {
      problem.hidden = false;
    }
  });
}
