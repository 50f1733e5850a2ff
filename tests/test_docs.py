"""The pages under /docs: anybody may read them, they lead somewhere, and what they show works."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag

import httpx
import pytest

from functions.docs import pages, reference
from shared.catalogue import CATALOGUE
from shared.routes import Site
from tests.support.html import Html
from tests.support.serving import ADDRESS, OUTSIDE, PATIENT, POSTCODE, REASON, Json, Partner, Server

once = pytest.mark.parametrize("backing", ["local"], indirect=True)
"""Pages are the same on every backend."""
PATHS = [*pages.GUIDES, reference.INDEX, *(group.path for group in reference.groups())]
URL = "https://api.ally.example"
"""What the tests' servers take for their address."""
SAME = frozenset({"object", "code", "status", "type", "has_more", "url", "livemode", "covered"})
"""Members whose values an example has as they really come."""


def read(server: Server, path: str) -> Html:
    answer = server.send("GET", path)
    assert answer.status_code == 200, answer.text
    return Html(answer.text)


every_page = pytest.mark.parametrize("path", PATHS)
every_guide = pytest.mark.parametrize("path", pages.GUIDES)


# --- Pages ---------------------------------------------------------------------------------------


@once
@every_page
def test_anybody_may_read_a_page_and_nothing_in_it_comes_from_elsewhere(
    server: Server, path: str
) -> None:
    answer = server.send("GET", path)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Cache-Control"] == "public, max-age=300"
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    page = Html(answer.text)
    for tag, found in page.attributes:
        assert "style" not in found, tag
        assert not any(name.startswith("on") for name in found), tag
        for name in ("src", "href") if tag in ("script", "link", "img") else ():
            assert found.get(name, "/docs/assets/").startswith("/docs/assets/")
    dashboard = server.portal("dashboard")
    for link in page.links:
        assert link.startswith(("/", "#", "mailto:support@ally.example", dashboard)), link
    assert "{{" not in answer.text


@once
@every_page
def test_the_headings_of_a_page_are_in_order(server: Server, path: str) -> None:
    page = read(server, path)
    levels = [level for level, _ in page.headings if level]
    main = levels[levels.index(1) :]
    assert main.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(main))
    assert len(page.anchors) == len(set(page.anchors))


@once
def test_every_link_leads_to_a_page_and_an_anchor_on_it(server: Server) -> None:
    found: dict[str, Html] = {}
    wanted = [f"{path}#" for path in PATHS]
    wanted += [code.page for code in CATALOGUE.values()]
    while wanted:
        path, anchor = urldefrag(wanted.pop())
        if path not in found:
            answer = server.send("GET", path)
            assert answer.status_code == 200, path
            is_page = answer.headers["Content-Type"].startswith("text/html")
            found[path] = Html(answer.text if is_page else "")
            links = [link for link in found[path].links if link.startswith(("/", "#"))]
            wanted += [path + link if link.startswith("#") else link for link in links]
        assert not anchor or anchor in found[path].anchors, f"{path}#{anchor}"
    assert {path for path in found if "." not in path} == set(PATHS)


def test_every_operation_that_takes_a_key_is_in_the_reference() -> None:
    document = json.loads(reference.DOCUMENT.read_text())
    described = {
        (method.upper(), path)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if reference.PERMISSION in operation
    }
    shown = {
        (method, operation.path)
        for group in reference.groups()
        for operation in group.operations
        for method in operation.methods
    }
    assert shown == described


def test_the_example_of_every_body_is_complete() -> None:
    for group in reference.groups():
        for operation in group.operations:
            assert f'"{reference.UNKNOWN}"' not in operation.body + operation.answer, operation.id
            assert "null" not in operation.body, operation.id


def test_pages_speak_of_the_deployment_that_shows_them() -> None:
    site = Site("https://api.example.org", "help@example.org", "https://pages.example.org")
    for path in PATHS:
        text = pages.page(path, site).text
        assert "mailto:help@example.org" in text
        assert 'href="https://pages.example.org"' in text
        assert "ally.example" not in text
    assert "curl https://api.example.org/v1/patients" in re.sub(
        "<[^>]+>", "", pages.page("/docs", site).text
    )


def test_markup_in_a_guide_and_in_the_settings_stays_text() -> None:
    site = Site('https://a.example/"><script>', "<b>@example.org", 'https://"><script>')
    for path in PATHS:
        page = Html(pages.page(path, site).text)
        scripts = [found for tag, found in page.attributes if tag == "script"]
        assert [list(found) for found in scripts] == [["src", "defer"]]
        assert "b" not in {tag for tag, _ in page.attributes}


@once
@pytest.mark.parametrize(
    "path",
    [
        *("/docs/nothing", "/docs/", "/docs/start", "/docs/errors/x", "/docs/reference/nothing"),
        *("/docs/assets/nothing.css", "/docs/assets/..%2Fmain.py"),
    ],
)
def test_a_page_that_is_not_there_is_404_in_the_envelope(server: Server, path: str) -> None:
    answer = server.send("GET", path)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "route_unknown"
    assert answer.headers["Cache-Control"] == "no-store"


@once
def test_head_tells_of_a_page_what_get_does_and_sends_nothing(server: Server) -> None:
    got, told = (server.send(method, "/docs") for method in ("GET", "HEAD"))
    assert (told.status_code, told.content) == (200, b"")
    for name in ("Content-Type", "Content-Length", "Cache-Control", "Content-Security-Policy"):
        assert told.headers[name] == got.headers[name]
    refused = server.send("POST", "/docs")
    assert (refused.status_code, refused.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")


@once
def test_an_asset_is_kept_for_a_year_under_an_address_of_its_content(server: Server) -> None:
    loaded = [link for link in read(server, "/docs").links if link.startswith("/docs/assets/")]
    assert {urldefrag(link)[0].partition("?")[0].rpartition(".")[2] for link in loaded} == {
        *("css", "js", "svg")
    }
    for link in loaded:
        answer = server.send("GET", link)
        assert answer.headers["Cache-Control"] == "public, max-age=31536000"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert re.fullmatch(r".*\?[0-9a-f]{12}", link)
        assert "://" not in answer.text.replace("http://www.w3.org/2000/svg", "")


# --- What the guides show ------------------------------------------------------------------------


class Terminal:
    """Somebody who pastes the commands of a guide, with a key that may do everything."""

    def __init__(self, partner: Partner, folder: Path) -> None:
        assert partner.tenant  # connected before the server has heard of the organisation
        self.partner = partner.administrator()
        (folder / ".curlrc").write_text(
            f'silent\nshow-error\ncacert = "{partner.server.certificate}"\n'
        )
        self._environment = {"PATH": os.environ["PATH"], "CURL_HOME": str(folder)}
        self._environment |= {"ALLY_KEY": self.partner.key, "HOME": str(folder)}
        booked = self.partner.book()
        self.partner.create_patient()
        self.partner.create_patient(externalRef="A-17")
        self._environment["ORGANISATION_ID"] = partner.organisation.id
        for name in ("patient", "task", "window"):
            self._environment[f"{name.upper()}_ID"] = booked[f"{name}Id"]

    def paste(self, command: str) -> Json:
        """Run a command and keep the id or the token that it answers with, as the guides say."""
        told = json.loads(self.run(command).rpartition("\n\n")[2])  # without the headers of -i
        found = told["data"][-1] if told.get("data") else told
        if "token" in found:
            self._environment["ID_TOKEN"] = found["token"]
        if "id" in found:
            self._environment[f"{found['object'].upper()}_ID"] = found["id"]
        assert isinstance(told, dict)
        return told

    def run(self, command: str) -> str:
        return subprocess.run(
            ["bash", "-euc", command.replace(URL, self.partner.server.url)],
            env=self._environment,
            input=f"{self.partner.key}\n",
            capture_output=True,
            text=True,
            check=True,
        ).stdout


def resembles(shown: Any, real: Any, name: str = "") -> bool:
    """Tell whether an example shows what really comes, apart from ids, times and wording."""
    if isinstance(shown, dict):
        return all(key in real and resembles(shown[key], real[key], key) for key in shown)
    if isinstance(shown, list):
        return bool(real) == bool(shown) and all(resembles(each, real[0], name) for each in shown)
    return shown == real if name in SAME else type(shown) is type(real)


@once
@every_guide
def test_the_commands_of_a_guide_work_and_answer_what_it_shows(
    partner: Partner, tmp_path: Path, path: str
) -> None:
    terminal = Terminal(partner, tmp_path)
    answer: Json = {}
    for language, text in read(partner.server, path).blocks:
        if language == "json":
            assert resembles(json.loads(text), answer), f"{text}\n{json.dumps(answer, indent=2)}"
        elif text.startswith("read"):
            assert terminal.run(f'{text}; printf %s "$ALLY_KEY"') == terminal.partner.key
        elif language == "sh":
            for command in re.split(r"\n(?=curl)", text):
                answer = terminal.paste(command)
                assert path == "/docs/errors" or "error" not in answer, (command, answer)


def test_the_guides_have_commands() -> None:
    """Of the tests of commands none is empty."""
    site = Site(URL, "")
    for path in pages.GUIDES:
        commands = [text for kind, text in Html(pages.page(path, site).text).blocks if kind == "sh"]
        assert any(text.startswith("curl") for text in commands), path


@once
def test_a_request_that_is_sent_twice_as_the_guide_says_is_replayed(
    partner: Partner, tmp_path: Path
) -> None:
    (command, *_) = (
        text for kind, text in read(partner.server, "/docs/idempotency").blocks if kind == "sh"
    )
    terminal = Terminal(partner, tmp_path)
    first, second = (terminal.run(command) for _ in range(2))
    assert "idempotent-replayed" not in first
    assert "idempotent-replayed: true" in second
    assert first.rpartition("\n\n")[2] == second.rpartition("\n\n")[2]


# --- Errors on demand ----------------------------------------------------------------------------

PROMISES = [
    row
    for row in Html(pages.page("/docs/test-mode", Site(URL, "")).text).rows
    if row and row[-1] in CATALOGUE
]
ON_DEMAND = [row for row in PROMISES if re.match("[A-Z]+ /", row[0])]
AFTERWARDS = [row for row in PROMISES if row not in ON_DEMAND]


def a_request(partner: Partner, path: str) -> Json:
    """Return the parameters of a request that works, as fields of a form."""
    task = partner.task()
    if path == "/v1/availability":
        return {"taskId": task["id"], "postcode": POSTCODE}
    if path == "/v1/appointments":
        window = partner.windows(task)[0]
        body = partner.request(partner.create_patient(), task, window)
        del body["location"]
        return body | {f"location[address][{name}]": text for name, text in ADDRESS.items()}
    return dict(PATIENT) if path == "/v1/patients" else {}


@once
@pytest.mark.parametrize("row", ON_DEMAND, ids=" ".join)
def test_a_changed_request_is_refused_as_the_guide_says(partner: Partner, row: list[str]) -> None:
    request, change, code = row
    method, path = request.split()
    sent = a_request(partner, path)
    headers = {"Authorization": partner.key}
    name, sign, value = re.fullmatch(r"(?:([^:=]+)([:=]) ?(.*))?", change).groups()  # type: ignore[union-attr]  # it always matches
    if sign == ":":
        headers[name] = value
    elif sign:
        assert call(partner.server, method, path, sent, headers).status_code == 200
        sent[name] = value
    answer = call(partner.server, method, path, sent, headers)
    assert answer.json()["error"]["code"] == code
    assert answer.status_code == CATALOGUE[code].status


def call(server: Server, method: str, path: str, sent: Json, headers: Json) -> httpx.Response:
    """Send fields where they belong, of a body even under a header that says another kind."""
    if method == "GET":
        return server.send(method, path, params=sent, headers=headers)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    content = str(httpx.QueryParams(sent))
    return server.send(method, path, content=content, headers={**form, **headers})


def full_window(partner: Partner) -> Json:
    (window, *_) = (each for each in partner.windows(partner.task()) if each["remaining"] == 1)
    partner.book(window)
    return partner.request(partner.create_patient(), partner.task(), window)


def a_booking(partner: Partner) -> Json:
    task = partner.task()
    roomy = next(each for each in partner.windows(task) if each["remaining"] > 1)
    sent = partner.request(partner.create_patient(), task, roomy)
    booked = partner.post("/v1/appointments", sent)
    return {**sent, "patient": sent["patientId"], "appointment": booked["id"]}


def a_cancellation(partner: Partner) -> Json:
    booked = a_booking(partner)
    partner.cancel({"id": booked["appointment"]})
    return booked


def a_revoked_key(partner: Partner) -> Json:
    made = partner.post("/v1/api_keys", {"name": "x"})
    partner.post(f"/v1/api_keys/{made['id']}/revoke")
    return {"api_key": made["id"]}


def an_idempotency_key(partner: Partner) -> Json:
    partner.post("/v1/patients", PATIENT, headers={"Idempotency-Key": "k"})
    return {}


PASTS: dict[str, Callable[[Partner], Json]] = {
    "you booked the last place of a window": full_window,
    "you booked a window for a patient": a_booking,
    "you cancelled an appointment": a_cancellation,
    "you revoked a key": a_revoked_key,
    "you sent an Idempotency-Key": an_idempotency_key,
}


@once
@pytest.mark.parametrize("row", AFTERWARDS, ids=" ".join)
def test_a_request_is_refused_after_what_the_guide_says(partner: Partner, row: list[str]) -> None:
    past, request, code = row
    administrator = partner.administrator()
    known = PASTS[past](administrator)
    method, path = request.split()[:2]
    bodies: dict[str, Json | None] = {
        "/v1/appointments": {n: known[n] for n in known if n not in ("patient", "appointment")},
        "/v1/appointments/{appointment}/cancel": REASON,
        "/v1/appointments/{appointment}/reschedule": {"windowId": known.get("windowId")},
        "/v1/appointments/{appointment}": {"note": "new"},
        "/v1/patients": {**PATIENT, "note": "new"},
    }
    answer = administrator.send(
        method,
        re.sub(r"\{(\w+)\}", lambda found: str(known[found[1]]), path),
        json=bodies.get(path),
        headers={"Idempotency-Key": "k"} if path == "/v1/patients" else {},
    )
    assert answer.json()["error"]["code"] == code, answer.text


def test_the_table_of_errors_on_demand_is_read() -> None:
    assert len(ON_DEMAND) >= 20
    assert len(AFTERWARDS) >= 8
    assert {row[0] for row in AFTERWARDS} == set(PASTS)
    assert any(OUTSIDE in row[1] for row in ON_DEMAND)
