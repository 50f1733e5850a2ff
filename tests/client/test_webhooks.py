"""Webhooks are verified by either of their signatures, and a refusal says what is likely wrong."""

import base64
import json
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import standardwebhooks
import stripe

from ally import WebhookVerificationError
from ally.webhooks import TOLERANCE, verify
from tests.support.serving import Json

NOW = datetime.now(UTC).replace(microsecond=0)
EVENT: Json = {
    "id": "evt_1",
    "object": "event",
    "type": "appointment.scheduled",
    "createdAt": "2026-11-22T09:30:00.000Z",
    "livemode": False,
    "data": {
        "object": {"id": "apt_1", "object": "appointment", "status": "scheduled", "by": "Zoë"},
        "previous_attributes": {"status": "scheduling"},
    },
    "request": {"id": "req_1", "idempotency_key": None},
    "pending_webhooks": 1,
    "later": "a field of a later version",
}
BODY = json.dumps(EVENT, separators=(",", ":"), ensure_ascii=False).encode()


def new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()


SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()
Headers = dict[str, str]
Sign = Callable[..., Headers]


def standard(body: bytes = BODY, secret: str = SECRET, at: datetime = NOW) -> Headers:
    """Sign as the package standardwebhooks does."""
    signature = standardwebhooks.Webhook(secret).sign("msg_1", at, body.decode())
    return {
        "Webhook-Id": "msg_1",
        "Webhook-Timestamp": str(int(at.timestamp())),
        "Webhook-Signature": signature,
    }


def stripes(body: bytes = BODY, secret: str = SECRET, at: datetime = NOW) -> Headers:
    """Sign as the package stripe expects."""
    when = int(at.timestamp())
    signature = stripe.WebhookSignature._compute_signature(f"{when}.{body.decode()}", secret)
    header = f"t={when},v1={signature}"
    assert stripe.WebhookSignature.verify_header(body.decode(), header, secret)
    return {"Ally-Signature": header}


both = pytest.mark.parametrize("sign", [standard, stripes])


def likely(
    body: Any, headers: Mapping[str, str], secret: str | list[str] = SECRET, **options: Any
) -> str | None:
    """Return what a refusal says is the likely cause, which its words must name too."""
    with pytest.raises(WebhookVerificationError) as caught:
        verify(body, headers, secret, **{"now": NOW, **options})
    cause = caught.value.likely
    words = {"time": "signed|seconds", "body": "body|signed", "secret": "secret", None: "no sign"}
    caught.match(words[cause])
    for name in ("code", "param", "request_id", "http_status"):
        assert getattr(caught.value, name) is None
    return cause


@both
def test_an_authentic_webhook_is_its_event(sign: Sign) -> None:
    event = verify(BODY, sign(), SECRET, now=NOW)
    assert (event.id, event.type, event.livemode) == ("evt_1", "appointment.scheduled", False)
    assert event.createdAt == datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
    assert event.data.object["status"] == "scheduled"
    assert event.data.previous_attributes == {"status": "scheduling"}
    assert event.request is not None
    assert event.request.id == "req_1"
    assert event.extra == {"later": "a field of a later version"}


@both
def test_it_is_verified_at_the_present_time_unless_told(sign: Sign) -> None:
    assert verify(BODY, sign(at=datetime.now(UTC)), SECRET).id == "evt_1"
    assert likely(BODY, sign(at=datetime.now(UTC) - timedelta(hours=1)), now=None) == "time"


def test_both_signatures_may_come_and_either_is_enough() -> None:
    headers = {**standard(), **stripes()}
    assert verify(BODY, headers, SECRET, now=NOW).id == "evt_1"
    assert verify(BODY, {name.lower(): each for name, each in headers.items()}, SECRET, now=NOW)
    assert verify(BODY, {name.upper(): each for name, each in headers.items()}, SECRET, now=NOW)


@both
def test_during_a_rotation_the_old_secret_and_the_new_one_are_taken(sign: Sign) -> None:
    old, new = new_secret(), new_secret()
    for signed in (old, new):
        assert verify(BODY, sign(secret=signed), [old, new], now=NOW).id == "evt_1"
    assert likely(BODY, sign(secret=new_secret()), [old, new]) == "secret"


def test_a_delivery_signed_with_two_secrets_passes_with_one() -> None:
    old, new = new_secret(), new_secret()
    signatures = [standard(secret=each)["Webhook-Signature"] for each in (old, new)]
    headers = {**standard(), "Webhook-Signature": " ".join(["v2,x", *signatures])}
    values = [stripes(secret=each)["Ally-Signature"].partition(",")[2] for each in (old, new)]
    written = f"t={int(NOW.timestamp())},v0=x,{','.join(values)}"
    for secret in (old, new):
        assert verify(BODY, headers, secret, now=NOW).id == "evt_1"
        assert verify(BODY, {"Ally-Signature": written}, secret, now=NOW).id == "evt_1"
        assert stripe.WebhookSignature.verify_header(BODY.decode(), written, secret)


@both
def test_a_delivery_of_another_time_is_refused(sign: Sign) -> None:
    for seconds in (TOLERANCE, -TOLERANCE):
        assert verify(BODY, sign(), SECRET, now=NOW + timedelta(seconds=seconds))
    for seconds in (TOLERANCE + 1, -TOLERANCE - 1):
        assert likely(BODY, sign(), now=NOW + timedelta(seconds=seconds)) == "time"
    assert likely(BODY, sign(), tolerance=5, now=NOW + timedelta(seconds=6)) == "time"


@pytest.mark.parametrize("written", ["", "soon", "-1", "1e9", "٣", "9" * 400])
def test_a_time_that_is_no_number_is_the_time(written: str) -> None:
    assert likely(BODY, {**standard(), "Webhook-Timestamp": written}) == "time"
    assert likely(BODY, {"Ally-Signature": f"t={written},v1=00"}) == "time"


@both
@pytest.mark.parametrize(
    "body",
    [
        BODY.decode(),
        EVENT,
        bytearray(BODY),
        BODY + b"\n",
        json.dumps(EVENT).encode(),
        json.dumps(EVENT, ensure_ascii=False).encode(),
        json.dumps(EVENT, indent=2).encode(),
        b"",
        BODY[:-1],
        b"[" * 50_000,
        BODY + b" " * 100_000,
    ],
)
def test_a_body_that_is_not_as_it_was_sent_is_the_body(sign: Sign, body: object) -> None:
    assert likely(body, sign()) == "body"


@both
@pytest.mark.parametrize(
    "dump", [{"indent": 2}, {"indent": 4}, {}, {"separators": (",", ":")}], ids=str
)
def test_a_body_that_was_written_in_another_way_is_recognised(sign: Sign, dump: Json) -> None:
    for as_sent in (json.dumps(EVENT, **dump), json.dumps(EVENT, ensure_ascii=False, **dump)):
        headers = sign(body=as_sent.encode())
        assert verify(as_sent.encode(), headers, SECRET, now=NOW).id == "evt_1"
        anew = json.dumps(json.loads(as_sent), separators=(" , ", " : ")).encode()
        assert likely(anew, headers) == "body"


@both
@pytest.mark.parametrize(
    "secret",
    [
        pytest.param(new_secret(), id="another"),
        "",
        "whsec_",
        SECRET + "\n",
        f" {SECRET}",
        SECRET.removeprefix("whsec_"),
        "whsec_не base64",
        "test_" + "A" * 24 + "." + "S" * 30,
    ],
)
def test_a_secret_that_is_not_the_endpoints_is_the_secret(sign: Sign, secret: str) -> None:
    assert likely(BODY, sign(), secret) == "secret"


@both
def test_a_changed_signature_or_header_is_refused(sign: Sign) -> None:
    for name, value in sign().items():
        if "Timestamp" not in name:
            changed = value[:-1] + ("A" if value[-1] != "A" else "B")
            assert likely(BODY, {**sign(), name: changed}) == "secret"


def test_a_signature_of_another_scheme_counts_for_nothing() -> None:
    signature = standard()["Webhook-Signature"].replace("v1,", "v2,")
    assert likely(BODY, {**standard(), "Webhook-Signature": signature}) == "secret"
    header = stripes()["Ally-Signature"].replace("v1=", "v0=")
    assert likely(BODY, {"Ally-Signature": header}) == "secret"


@both
def test_a_line_break_at_the_end_is_recognised_however_the_body_is_written(sign: Sign) -> None:
    oddly = json.dumps(EVENT, separators=(" , ", " : ")).encode()
    assert likely(oddly + b"\n", sign(body=oddly)) == "body"
    assert likely(oddly, sign(body=oddly + b"\n")) == "body"


def test_without_a_signature_the_cause_is_none_of_them() -> None:
    assert likely(BODY, {}) is None
    assert likely(BODY, {"Webhook-Id": "msg_1", "Webhook-Timestamp": "1"}) is None
    assert likely(BODY, {**standard(), "Webhook-Signature": "é"}) == "secret"


def test_what_is_signed_and_is_no_event_is_refused() -> None:
    for body in (b"[]", b'{"id":"evt_1"}', b"not JSON"):
        assert likely(body, standard(body=body)) == "body"


def test_our_signatures_and_those_of_the_packages_are_verified_alike() -> None:
    at = datetime.fromtimestamp(int(time.time()), UTC)
    headers = standard(at=at)
    assert standardwebhooks.Webhook(SECRET).verify(BODY, headers) == EVENT
    assert verify(BODY, headers, SECRET).id == "evt_1"
