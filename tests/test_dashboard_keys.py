"""Pages of keys: made, shown once, restricted, rolled and revoked by administrators."""

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from functions import discover
from functions.dashboard.api_keys import RESOURCES
from shared import clock
from shared.activation import open_live
from shared.keys import ApiKey
from shared.routes import INTERNAL, PUBLIC
from tests.support.dashboard import SECRET, an_hour_later, older, secret_of, text, written, wrong
from tests.support.inprocess import InProcess
from tests.support.people import signed_in
from tests.support.serving import PATIENT, Partner


def works(partner: Partner, secret: str) -> bool:
    return partner.server.send("GET", "/v1/tasks", secret).status_code == 200


def test_a_key_that_is_made_works_and_its_secret_is_on_that_page_alone(partner: Partner) -> None:
    person = signed_in(partner)
    form = person.get("/test/api_keys/new")
    sent = {"name": "Booking server", "preset": "read"}
    made = person.submit(form, 200, **sent)
    secret = secret_of(made)
    assert works(partner, secret)
    assert partner.server.send("POST", "/v1/patients", secret, json=PATIENT).status_code == 403
    again = person.submit(form, 409, **sent)
    assert not SECRET.search(again.text)
    (key_id,) = re.findall(r'class="button" href="/test/api_keys/(key_\w+)"', made.text)
    for path in ("", f"/{key_id}", f"/{key_id}/edit", f"/{key_id}/reveal"):
        assert not SECRET.search(person.get(f"/test/api_keys{path}").text)
    assert made.url.path == "/test/api_keys"
    assert not made.url.query
    assert secret.partition(".")[2] not in written(partner)


def test_a_key_can_be_let_do_what_was_chosen_from_where_and_until_when(partner: Partner) -> None:
    person = signed_in(partner)
    last = clock.london_day(clock.now()) + timedelta(days=3)
    sent = {
        "name": "Bounded",
        "preset": "chosen",
        "scopes__tasks": "read",
        "scopes__patients": "write",
        "allowedCidrs": "203.0.113.9/24\n\n2001:db8::/32",
        "expiresAt": str(last),
    }
    none = {f"scopes__{name}": "none" for name in RESOURCES}
    secret = secret_of(person.submit(person.get("/test/api_keys/new"), 200, **{**none, **sent}))
    refused = partner.server.send("GET", "/v1/tasks", secret)
    assert refused.json()["error"]["code"] == "address_not_allowed"
    (key,) = [each for each in partner.stored(ApiKey).values() if each["name"] == "Bounded"]
    assert key["scopes"] == {"tasks": "read", "patients": "write"}
    assert key["allowedCidrs"] == ["203.0.113.0/24", "2001:db8::/32"]
    edit = f"/test/api_keys/{key['id']}/edit"
    person.submit(person.get(edit), name="Renamed")
    after = partner.stored(ApiKey)[key["id"]]
    changed = {name for name in key if key[name] != after[name]}
    assert changed == {"name", "updatedAt"}
    person.submit(person.get(edit), allowedCidrs="", expiresAt="", scopes__usage="read")
    after = partner.stored(ApiKey)[key["id"]]
    assert "expiresAt" not in after
    assert after["allowedCidrs"] == []
    assert after["scopes"] == {"tasks": "read", "patients": "write", "usage": "read"}
    assert InProcess(partner.backing, secret).send("GET", "/v1/tasks").status_code == 200


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"name": ""}, "name"),
        ({"allowedCidrs": "203.0.113.0/24\nnonsense"}, "allowedCidrs"),
        ({"expiresAt": "2021-01-01"}, "expiresAt"),
        ({"type": "publishable"}, "origins"),
        ({"type": "publishable", "origins": "www.example.org/page"}, "origins"),
    ],
)
def test_what_is_wrong_with_a_new_key_stands_beside_its_field(
    partner: Partner, sent: dict[str, str], field: str
) -> None:
    person = signed_in(partner)
    before = partner.stored(ApiKey).keys()
    page = person.submit(person.get("/test/api_keys/new"), 400, **{"name": "New", **sent})
    assert set(wrong(page)) == {field}
    assert sent.get("allowedCidrs", "") in page.text
    assert partner.stored(ApiKey).keys() == before


def test_a_publishable_key_is_no_secret(partner: Partner) -> None:
    person = signed_in(partner)
    sent = {"name": "Pages", "type": "publishable", "origins": "https://www.example.org"}
    made = person.submit(person.get("/test/api_keys/new"), 200, **sent)
    (key,) = [each for each in partner.stored(ApiKey).values() if each["type"] == "publishable"]
    assert key["maskedKey"] in made.text
    assert key["maskedKey"] in person.get(f"/test/api_keys/{key['id']}").text


def test_a_rolled_key_works_until_it_ends_and_a_revoked_one_ends_at_once(partner: Partner) -> None:
    person = signed_in(partner)
    old = f"/test/api_keys/{partner.api_key.id}"
    rolled = person.submit(person.get(f"{old}/roll"), overlap="1h")
    new = secret_of(rolled)
    assert works(partner, new)
    assert works(partner, partner.key)
    assert "Another key takes its place" in text(person.get(old))
    (key_id,) = re.findall(r'class="button" href="/test/api_keys/(key_\w+)"', rolled.text)
    person.submit(person.get(f"/test/api_keys/{key_id}/revoke"))
    standing = {each["id"]: each for each in partner.stored(ApiKey).values()}
    assert {"revokedAt" in standing[each] for each in (key_id, partner.api_key.id)} == {True}
    for secret in (new, partner.key):  # by a server that has not heard of them yet
        assert InProcess(partner.backing, secret).send("GET", "/v1/tasks").status_code == 401


def test_a_test_secret_is_shown_again_to_who_has_just_signed_in(partner: Partner) -> None:
    person = signed_in(partner)
    path = f"/test/api_keys/{partner.api_key.id}/reveal"
    assert secret_of(person.submit(person.get(path))) == partner.key
    token = re.findall(r'name="_csrf" value="(\w+)"', person.get(path).text)[0]
    late = an_hour_later(partner, person)
    for answer in (late.ask("GET", path), late.post(path, {"_csrf": token, "_once": "x"})):
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/sign-in/again?next=%2Ftest%2Fapi_keys")
    assert late.ask("GET", "/test/api_keys/new").status_code == 200


def test_a_live_key_is_shown_once_to_who_has_just_signed_in(partner: Partner) -> None:
    person = signed_in(partner)
    person.get("/live/api_keys", 403)
    partner.backing.run(lambda service: open_live(service, partner.organisation.id))
    partner.live()
    person = signed_in(partner)
    (key,) = [
        each
        for each in replace(partner, mode="live").stored(ApiKey).values()
        if each.get("unrevealed")
    ]
    for mode in ("test", "live"):
        assert f'href="/live/api_keys/{key["id"]}"' in person.get(f"/{mode}").text
    path = f"/live/api_keys/{key['id']}"
    assert not SECRET.search(person.get(path).text)
    form = person.get(f"{path}/reveal")
    secret = secret_of(person.submit(form))
    assert secret.startswith("live_")
    assert works(partner, secret)
    for page in (person.submit(form, 409), person.submit(person.get(f"{path}/reveal"), 402)):
        assert not SECRET.search(page.text)
    assert secret.partition(".")[2] not in written(partner)
    assert f'href="/live/api_keys/{key["id"]}"' not in person.get("/live").text
    late = an_hour_later(partner, person)
    for page_path in ("/live/api_keys/new", f"{path}/roll", f"{path}/reveal"):
        assert late.ask("GET", page_path).headers["location"].startswith("/sign-in/again")


def test_a_live_key_that_was_revoked_before_anybody_saw_it_is_shown_to_nobody(
    partner: Partner,
) -> None:
    partner.backing.run(lambda service: open_live(service, partner.organisation.id))
    partner.live()
    person = signed_in(partner)
    (key_id,) = [
        name
        for name, each in replace(partner, mode="live").stored(ApiKey).items()
        if each.get("unrevealed")
    ]
    path = f"/live/api_keys/{key_id}"
    form = person.get(f"{path}/reveal")
    person.submit(person.get(f"{path}/revoke"))
    for page in (person.submit(form, 402), person.get(path)):
        assert not SECRET.search(page.text)


def test_a_key_is_found_by_itself_and_no_address_has_it(partner: Partner) -> None:
    person = signed_in(partner)
    for sought in (partner.key, partner.key.partition(".")[0], partner.api_key.id):
        found = person.submit(person.get("/test/api_keys"), to="/test/api_keys/find", key=sought)
        assert found.url.path == f"/test/api_keys/{partner.api_key.id}"
    half = partner.key[:-1].removeprefix("test_")
    for sought in (half, half[:24], "key_x", "test_", "…", "a" * 25):
        page = person.submit(
            person.get("/test/api_keys"), 400, to="/test/api_keys/find", key=sought
        )
        assert set(wrong(page)) == {"key"}, sought
    assert partner.key not in written(partner)


def test_a_key_is_found_by_how_a_word_of_its_name_begins(partner: Partner) -> None:
    server = partner.with_key({"*": "read"}, name="Ward 7 server")
    server.get("/v1/tasks")  # when it was used last is noted in it
    named = server.api_key.id
    person = signed_in(partner)
    for sought in ("ward", "WARD 7 s", "7", " serv "):
        page = person.submit(person.get("/test/api_keys"), to="/test/api_keys/find", key=sought)
        assert re.findall(r'href="/test/api_keys/(key_\w+)"', page.text) == [named]
    page = person.submit(page, to="/test/api_keys/find", key="ard")
    assert "No key matches." in page.text
    assert 'value="ard"' in page.text


def test_keys_are_paged_and_each_mode_has_its_own(partner: Partner) -> None:
    live = partner.live()
    person = signed_in(partner)
    assert live.api_key.id not in person.get("/test/api_keys").text
    assert partner.api_key.id not in person.get("/live/api_keys").text
    person.get(f"/live/api_keys/{partner.api_key.id}", 404)
    newer = partner.with_key({"*": "write"}, name="Newer").api_key.id
    first = person.get("/test/api_keys?limit=1")
    assert newer in first.text
    assert partner.api_key.id not in first.text.partition('<nav class="pager"')[0]
    assert f"/test/api_keys/{partner.api_key.id}" in person.get(older(first)).text


def test_a_role_that_was_just_taken_away_makes_no_key(partner: Partner) -> None:
    """The session is believed for some seconds; what a key can do outlives them."""
    person = signed_in(partner)
    api = InProcess(partner.backing, partner.key)
    person.enter(api)
    form = person.get("/test/api_keys/new")
    partner._change(type(person.user), person.user.id, {"role": "developer"}, account=True)
    before = partner.stored(ApiKey).keys()
    person.submit(form, 400, name="Too late")
    assert partner.stored(ApiKey).keys() == before


def test_a_role_that_was_just_taken_away_reveals_no_live_key(partner: Partner) -> None:
    partner.backing.run(lambda service: open_live(service, partner.organisation.id))
    live = partner.live()
    person = signed_in(partner)
    person.enter(InProcess(partner.backing, partner.key))
    (key,) = [each for each in live.stored(ApiKey).values() if each.get("unrevealed")]
    form = person.get(f"/live/api_keys/{key['id']}/reveal")
    partner._change(type(person.user), person.user.id, {"role": "developer"}, account=True)
    person.submit(form, 403)
    assert live.stored(ApiKey)[key["id"]]["unrevealed"]


def test_the_form_of_a_key_names_all_that_a_key_can_be_let_do() -> None:
    named = {
        route.permission.partition(":")[0]
        for api in discover()
        for route in api.routes
        if route.permission not in (PUBLIC, INTERNAL)
    }
    assert set(RESOURCES) == named
