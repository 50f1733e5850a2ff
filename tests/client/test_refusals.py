"""One tree of exceptions, each raised by a real answer, which it carries."""

import pickle
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

import ally as package
from ally import (
    Ally,
    AllyError,
    AuthenticationError,
    ConflictError,
    ConnectionFailedError,
    IdempotencyError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestFailedError,
    ServerError,
    TimedOutError,
)
from shared import backends
from tests.support.client import ADA, ANNE, HOME, Within, client_of
from tests.support.faulty import Act, Drops, Faulty, Hangs, Says
from tests.support.inprocess import InProcess
from tests.support.processes import free_port
from tests.support.serving import OUTSIDE, Partner
from tests.support.wire import Line

WRONG_KEY = "test_" + "0" * 24 + "." + "0" * 30
NOBODY = "p_" + "0" * 22


@pytest.fixture
def ally(partner: Partner) -> Iterator[Ally]:
    with client_of(partner) as client:
        yield client


def raised(kind: type[AllyError], call: Callable[[], object]) -> AllyError:
    """Return what a call raises, which must be of exactly this class."""
    with pytest.raises(AllyError) as caught:
        call()
    assert type(caught.value) is kind, caught.value
    return caught.value


def test_an_invalid_request_names_all_that_is_wrong_with_it(ally: Ally) -> None:
    wrong: Any = {**ADA, "firstName": "A", "phone": "12", "colour": "red"}
    error = raised(InvalidRequestError, lambda: ally.patients.create(**wrong))
    assert (error.http_status, error.type) == (400, "invalid_request_error")
    assert (error.code, error.param) == (error.errors[0].code, error.errors[0].param)
    assert {(each.param, each.code) for each in error.errors} == {
        ("firstName", "parameter_invalid"),
        ("phone", "parameter_invalid"),
        ("colour", "parameter_unknown"),
    }
    assert all(each.message and each.fix for each in error.errors)
    assert str(error.request_id).startswith("req_")
    assert str(error.doc_url).endswith(f"/docs/errors#{error.code}")
    assert str(error) == (
        f"400 {error.code}: {error.message} {error.fix} (request {error.request_id})"
    )


def test_a_key_that_was_used_for_another_request_is_an_invalid_request(ally: Ally) -> None:
    ally.patients.create(**ADA, idempotency_key="once")
    error = raised(IdempotencyError, lambda: ally.patients.create(**ANNE, idempotency_key="once"))
    assert isinstance(error, InvalidRequestError)
    assert (error.code, error.idempotency_key) == ("idempotency_key_reused", "once")


def test_what_is_no_valid_key_is_told_apart(ally: Ally, partner: Partner) -> None:
    now = datetime.now(UTC)
    keys = {
        "key_malformed": "test_short",
        "key_invalid": WRONG_KEY,
        "key_expired": partner.with_key({"*": "read"}, expiresAt=now).key,
        "key_revoked": partner.with_key({"*": "read"}, revokedAt=now).key,
    }
    for code, key in keys.items():
        error = raised(AuthenticationError, partial(ally.tasks.list, key=key))
        assert (error.http_status, error.code) == (401, code)


def test_what_the_world_refuses_has_a_code(ally: Ally, partner: Partner) -> None:
    task = partner.task()["id"]
    error = raised(
        RequestFailedError, lambda: ally.availability.list(taskId=task, postcode=OUTSIDE)
    )
    assert (error.http_status, error.code) == (402, "not_in_coverage")
    assert (error.type, error.param) == ("request_failed", "postcode")


def test_a_missing_permission(ally: Ally) -> None:
    error = raised(PermissionDeniedError, ally.api_keys.list)
    assert (error.http_status, error.code) == (403, "permission_missing")


def test_a_missing_object(ally: Ally) -> None:
    error = raised(NotFoundError, lambda: ally.patients.get(NOBODY))
    assert (error.http_status, error.code) == (404, "resource_missing")
    hostile = raised(NotFoundError, lambda: ally.patients.get("..%2Ftasks?limit=1#"))
    assert hostile.code == "resource_missing"
    named = raised(
        NotFoundError,
        lambda: ally.appointments.create(
            patientId=NOBODY,
            taskId="tsk_none",
            windowId="win_none",
            phone=ADA["phone"],
            location={"address": HOME},
        ),
    )
    assert named.param == "patientId"


# --- What a healthy server does not answer -------------------------------------------------------


def in_trouble(partner: Partner, error: Exception | None = None, **settings: Any) -> Ally:
    """Return a client of an instance whose storage fails, or with other settings."""
    api = InProcess(partner.backing, partner.key, **settings)
    if error is not None:
        api.fail("commit", error)
    return Ally(partner.key, transport=Within(api), max_retries=0)


def test_others_who_are_faster(partner: Partner) -> None:
    ally = in_trouble(partner, backends.ConflictError("others"), lock_timeout=0.1)
    error = raised(ConflictError, lambda: ally.patients.create(**ADA, idempotency_key="again"))
    assert (error.http_status, error.code) == (409, "lock_timeout")
    assert (error.retry_after, error.idempotency_key, error.attempts) == (1, "again", 1)


def test_too_many_requests(partner: Partner) -> None:
    ally = in_trouble(partner, rate_test=1, rate_window=3600)
    ally.tasks.list()
    error = raised(RateLimitError, ally.tasks.list)
    assert (error.http_status, error.code) == (429, "rate_limited")
    assert error.retry_after is not None


@pytest.mark.parametrize(
    ("trouble", "status", "code"),
    [
        (RuntimeError("bug"), 500, "internal_error"),
        (backends.UnavailableError("away"), 503, "temporarily_unavailable"),
    ],
)
def test_the_server_in_trouble(
    partner: Partner, trouble: Exception, status: int, code: str
) -> None:
    ally = in_trouble(partner, trouble)
    error = raised(ServerError, lambda: ally.patients.create(**ADA))
    assert (error.http_status, error.code) == (status, code)
    assert str(error.request_id) in str(error.fix)
    assert error.idempotency_key is not None


# --- What is not the API's own -------------------------------------------------------------------


def test_what_the_server_refuses_before_the_api_sees_it(partner: Partner) -> None:
    line = Line(partner.server)
    said = line.exchange(b"FOO /v1/tasks HTTP/1.1\r\n\r\n")  # which our client never sends
    line.close()
    act = Says(said.status, dict(said.headers), said.body.decode())
    with Faulty([act]) as faulty, Ally(WRONG_KEY, base_url=faulty.url) as ally:
        error = raised(InvalidRequestError, ally.tasks.list)
    assert (error.http_status, error.code, error.request_id) == (400, None, None)
    assert error.message == "Invalid HTTP request received."


def test_what_is_too_long_for_an_address_is_not_sent(ally: Ally) -> None:
    long = "x" * 70_000
    error = raised(InvalidRequestError, lambda: ally.patients.list(externalRef=long))
    assert (error.http_status, error.code, error.attempts) == (None, None, 0)
    assert "xxx" not in str(error)


@pytest.mark.parametrize("part", ["", ".", "..", "apt_1/cancel"])
def test_an_id_that_would_lead_elsewhere_is_not_sent(ally: Ally, part: str) -> None:
    with pytest.raises(ValueError, match="is not an id"):
        ally.appointments.update(part, note="x")


def test_plain_http_is_refused_by_the_api_itself(partner: Partner) -> None:
    with Ally(partner.key, base_url=f"http://localhost:{partner.server.http_port}") as ally:
        error = raised(InvalidRequestError, ally.tasks.list)
    assert error.code == "https_required"


PAGE = "<html><head><title>Bad gateway</title></head><body>" + "<p>Sorry.</p>" * 100


@pytest.mark.parametrize(
    ("act", "kind", "message"),
    [
        (
            Says(401, body='{"code":401,"message":"Jwt is missing"}'),
            AuthenticationError,
            "Jwt is m",
        ),
        (Says(403, body='{"error":"x"}'), PermissionDeniedError, '{"error":"x"}'),
        (Says(413), InvalidRequestError, "An answer without a text."),
        (Says(502, body=PAGE), ServerError, "Bad gateway Sorry. Sorry."),
        (Says(302, {"Location": "/v2"}), ServerError, "A redirection, which is not followed."),
        (Says(200, body="<p>Welcome to the hotel</p>"), ServerError, "The answer cannot be read"),
        (Says(200, body='{"data":7}'), ServerError, "int where list was expected"),
        (Says(200, body="[]"), ServerError, "list where dict was expected"),
    ],
)
def test_what_is_below_the_door_raises_the_right_class_too(
    act: Act, kind: type[AllyError], message: str
) -> None:
    with Faulty([act]) as faulty, Ally(WRONG_KEY, base_url=faulty.url, max_retries=0) as ally:
        error = raised(kind, ally.tasks.list)
    assert message in error.message
    assert error.code is None
    assert len(error.message) < 300
    assert "<" not in error.message


def test_an_object_that_lacks_what_it_must_have_is_said_without_its_values() -> None:
    answer = Says(200, body='{"id":"p_1","object":"patient","firstName":"Ada"}')
    with Faulty([answer]) as faulty, Ally(WRONG_KEY, base_url=faulty.url) as ally:
        error = raised(ServerError, lambda: ally.patients.get("p_1"))
    assert "Patient lacks createdAt, dateOfBirth, email" in error.message
    assert "Ada" not in str(error)


def test_a_key_whose_first_request_still_runs_is_a_conflict() -> None:
    said = '{"error":{"type":"idempotency_error","code":"idempotency_key_in_use","message":"x"}}'
    with (
        Faulty([Says(409, body=said)]) as faulty,
        Ally(WRONG_KEY, base_url=faulty.url, max_retries=0) as ally,
    ):
        error = raised(ConflictError, ally.tasks.list)
    assert error.code == "idempotency_key_in_use"


# --- Without an answer ---------------------------------------------------------------------------


def test_nobody_listens() -> None:
    with Ally(WRONG_KEY, base_url=f"http://localhost:{free_port()}", max_retries=0) as ally:
        error = raised(ConnectionFailedError, lambda: ally.patients.create(**ADA))
    assert error.idempotency_key is not None
    assert (error.http_status, error.code, error.attempts) == (None, None, 1)


@pytest.mark.parametrize(
    ("act", "kind"), [(Drops(), ConnectionFailedError), (Hangs(), TimedOutError)]
)
def test_an_answer_that_does_not_come(act: Act, kind: type[AllyError]) -> None:
    with Faulty([act]) as faulty, Ally(WRONG_KEY, base_url=faulty.url, max_retries=0) as ally:
        error = raised(kind, lambda: ally.tasks.get("tsk_1", timeout=0.1))
    assert isinstance(error, ConnectionFailedError)
    assert error.idempotency_key is None


def test_a_server_that_nobody_vouches_for_is_not_spoken_to(partner: Partner) -> None:
    with Ally(partner.key, base_url=partner.server.url, max_retries=0) as ally:
        error = raised(ConnectionFailedError, ally.tasks.list)
    assert "CERTIFICATE_VERIFY_FAILED" in error.message


# --- The tree ------------------------------------------------------------------------------------


def test_an_exception_survives_being_pickled(ally: Ally) -> None:
    error = raised(NotFoundError, lambda: ally.patients.get(NOBODY))
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert type(again) is NotFoundError
    assert (str(again), vars(again)) == (str(error), vars(error))


def test_the_tree_that_is_drawn_is_the_tree() -> None:
    lines = str(package.errors.__doc__).splitlines()
    drawn: dict[str, str] = {}
    parents: list[str] = []
    for line in lines:
        name = line.lstrip("│├└─ ").partition(" ")[0]
        if name.endswith("Error"):
            depth = (len(line) - len(line.lstrip("│├└─ "))) // 4
            parents[depth:] = [name]
            drawn[name] = parents[depth - 1] if depth else "Exception"
    exported = [getattr(package, name) for name in package.__all__]
    kinds = [each for each in exported if isinstance(each, type) and issubclass(each, AllyError)]
    assert drawn == {each.__name__: each.__bases__[0].__name__ for each in kinds}
