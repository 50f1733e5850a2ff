"""The key is never printed, and never sent where it does not belong."""

import copy
import logging
import pickle
import traceback
from collections.abc import Callable

import pytest

from ally import Ally, AllyError, AsyncAlly
from tests.support.client import ADA, Pauses, client_of
from tests.support.faulty import Act, Drops, Faulty, Says
from tests.support.serving import Partner

KEY = "test_" + "A" * 24 + "." + "S" * 30
SECRET = "S" * 30
OTHER = "live_" + "B" * 24 + "." + "S" * 30
Make = Callable[..., Ally | AsyncAlly]


@pytest.mark.parametrize("make", [Ally, AsyncAlly])
def test_a_client_is_printed_without_its_key_and_not_pickled_or_copied(make: Make) -> None:
    client = make(KEY)
    parts = [client, vars(client), *vars(client).values(), *vars(client._sender).values()]
    for part in parts:
        assert SECRET not in repr(part) + str(part)
    for leave in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            leave(client)


def printed(error: BaseException) -> str:
    """Return the traceback of an exception with the variables of all frames but the caller's."""
    assert error.__traceback__ is not None
    within = error.__traceback__.tb_next  # the test's own frame has the key, of course
    return "".join(
        traceback.TracebackException(type(error), error, within, capture_locals=True).format()
    )


@pytest.mark.parametrize(
    "act",
    [
        Drops(),
        Says(401, body=f'{{"error":{{"message":"No such key: {KEY}"}}}}'),
        Says(400, body=f"Received: Authorization: {KEY}"),
        Says(200, body=f'"{KEY}"'),
    ],
)
def test_what_an_exception_prints_has_no_key_not_even_with_the_variables_of_our_frames(
    act: Act,
) -> None:
    with Faulty([act]) as faulty, Ally(OTHER, base_url=faulty.url, max_retries=0) as ally:
        with pytest.raises(AllyError) as caught:
            ally.patients.create(**ADA, key=KEY)
        error = caught.value
    trace = printed(error)
    assert "in _exchange" in trace
    for text in (trace, str(error), repr(error), repr(vars(error)), repr(pickle.dumps(error))):
        assert SECRET not in text
        assert "ada@example.com" not in text
    assert error.__cause__ is None
    assert error.__context__ is None


def test_what_is_refused_before_it_is_sent_has_no_key_in_our_frames_either() -> None:
    with Ally(OTHER, base_url="http://localhost:1") as ally:
        with pytest.raises(ValueError, match="idempotency_key") as caught:
            ally.patients.create(**ADA, idempotency_key="a\nb", key=KEY)
        with pytest.raises(AllyError, match="too long") as long:
            ally.patients.list(externalRef="Zanzibar" * 10_000, key=KEY)
    for error in (caught.value, long.value):
        assert SECRET not in printed(error)
        assert "Zanzibar" not in str(error)


def test_the_log_says_what_happened_without_keys_queries_or_bodies(
    partner: Partner, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with client_of(partner) as ally:
        made = ally.patients.create(**ADA)
        ally.patients.list(externalRef="Zanzibar")
        ally.patients.get(made.id)
    lines = [each for each in caplog.records if each.name.startswith(("ally", "httpx"))]
    first, *_ = (each.getMessage() for each in lines)
    assert first.startswith("POST /v1/patients: 200, request req_")
    assert first.endswith(", attempt 1")
    assert len(lines) == 3
    for text in (each.getMessage() for each in caplog.records):
        for hidden in (partner.key, partner.key[-30:], "Zanzibar", "Loveworth", made.id):
            assert hidden not in text


def test_what_is_about_patients_or_opens_doors_is_not_printed(partner: Partner) -> None:
    with client_of(partner.administrator()) as ally:
        patient = ally.patients.create(**ADA)
        key = ally.api_keys.create(name="Reader")
        page = ally.patients.list()
    assert repr(patient) == f"Patient(id='{patient.id}')"
    assert key.secret is not None
    assert repr(key) == f"ApiKey(id='{key.id}')"
    assert repr(page) == "Page(1 of /v1/patients)"


@pytest.mark.parametrize("make", [Ally, AsyncAlly])
@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("", "one word"),
        (KEY + "\n", "one word"),
        (f" {KEY}", "one word"),
        (f"{KEY}\r\nX-Evil: 1", "one word"),
        (f"Bearer {KEY}", "one word"),
        ("test_ключ", "one word"),
        ("test_pub_" + "A" * 24, "publishable"),
        ("live_pub_" + "A" * 24, "publishable"),
    ],
)
def test_what_can_be_no_secret_key_is_refused_at_once(make: Make, key: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        make(key)
    assert SECRET not in str(caught.value)


def test_the_key_of_one_request_is_looked_at_too() -> None:
    with Faulty([Says(500)]) as faulty, Ally(KEY, base_url=faulty.url) as ally:
        with pytest.raises(ValueError, match="publishable"):
            ally.tasks.list(key="test_pub_" + "A" * 24)
        with pytest.raises(ValueError, match="idempotency_key"):
            ally.patients.create(**ADA, idempotency_key="a\nb")
        assert faulty.sent == []


@pytest.mark.parametrize("make", [Ally, AsyncAlly])
@pytest.mark.parametrize(
    "address",
    [
        "http://api.ally.example",
        "http://localhost.example",
        "http://127.example",
        "http://[::2]",
        "ftp://localhost",
        "api.ally.example",
        "https://",
        "",
        "https://me:secret@api.ally.example",
        "https://api.ally.example?x=1",
        "https://[::1",
    ],
)
def test_a_key_is_not_sent_in_the_open(make: Make, address: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        make(KEY, base_url=address)


@pytest.mark.parametrize(
    "address",
    ["https://api.ally.example", "http://localhost:8080/", "http://127.0.0.1", "http://[::1]:80"],
)
def test_a_key_is_sent_over_tls_or_within_this_machine(address: str) -> None:
    Ally(KEY, base_url=address).close()


def test_a_redirection_is_not_followed() -> None:
    with Faulty([Says(500)]) as elsewhere:
        led = Says(307, {"Location": elsewhere.url})
        with Faulty([led]) as faulty, Ally(KEY, base_url=faulty.url) as ally:
            with pytest.raises(AllyError, match="not followed"):
                ally.patients.create(**ADA)
            assert len(faulty.sent) == 1
        assert elsewhere.sent == []


def test_a_key_goes_through_no_proxy_that_the_environment_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Faulty([Says(500)]) as proxy, Faulty([Says(400)]) as faulty:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        with Ally(KEY, base_url=faulty.url) as ally, pytest.raises(AllyError):
            ally.tasks.list()
        assert (len(proxy.sent), len(faulty.sent)) == (0, 1)


def test_cookies_are_not_kept() -> None:
    pauses = Pauses()
    with (
        Faulty([Says(503, {"Set-Cookie": "a=b"}), Says(400)]) as faulty,
        Ally(KEY, base_url=faulty.url, sleep=pauses) as ally,
        pytest.raises(AllyError),
    ):
        ally.tasks.list()
    assert [each.headers.get("Cookie") for each in faulty.sent] == [None, None]
