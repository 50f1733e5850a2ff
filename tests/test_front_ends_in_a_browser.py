"""A partner's front end, in a real browser on a page of its own origin."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from tests.support.browser import Browser
from tests.support.faulty import Faulty, Says
from tests.support.serving import PATIENT, Json, Partner

CALL = """async ([url, method, token, body]) => {
    const answer = await fetch(url, {
        method,
        headers: {
            Authorization: `Bearer ${token}`,
            "Content-Type": "application/json",
            "Idempotency-Key": crypto.randomUUID(),
        },
        body: body === null ? undefined : JSON.stringify(body),
    });
    return {
        status: answer.status,
        requestId: answer.headers.get("Request-Id"),
        limit: answer.headers.get("RateLimit"),
        body: await answer.json(),
    };
}"""


PAGE = Says(200, {"Content-Type": "text/html"}, "<!DOCTYPE html><title>A front end</title>")


@pytest.fixture
def front_end() -> Iterator[str]:
    """The origin of an empty page on this machine."""
    with Faulty([PAGE]) as server:
        yield server.url.replace("127.0.0.1", "localhost")


def calls(
    browser: Browser, front_end: str, partner: Partner, *requests: tuple[str, str, Json | None]
) -> list[Json]:
    """Let the page send requests as the partner's end user, and return what it could read."""

    def act(page: Page) -> list[Json]:
        return [
            page.evaluate(CALL, [partner.server.url + path, method, partner.key, body])
            for method, path, body in requests
        ]

    return browser.visit(front_end, act, calls=[partner.server.url])


def test_a_page_of_a_registered_origin_calls_for_its_end_user_and_reads_errors_too(
    browser: Browser, front_end: str, partner: Partner
) -> None:
    partner.patch_organisation(frontEndOrigins=[front_end])
    ada = partner.end_user("ada")
    made, listed, wrong, closed = calls(
        browser,
        front_end,
        ada,
        ("POST", "/v1/patients", PATIENT),
        ("GET", "/v1/patients", None),
        ("POST", "/v1/patients", {}),
        ("GET", "/v1/organisations", None),
    )
    assert (made["status"], made["body"]["endUserId"]) == (200, "ada")
    assert made["requestId"].startswith("req_")
    assert made["limit"].startswith('"end-user"')
    assert listed["body"]["data"] == [made["body"]]
    assert (wrong["status"], wrong["body"]["error"]["type"]) == (400, "invalid_request_error")
    assert closed["body"]["error"]["code"] == "end_users_not_served"
    assert partner.get(f"/v1/patients/{made['body']['id']}") == made["body"]


def test_a_page_of_an_origin_that_is_not_registered_changes_nothing(
    browser: Browser, front_end: str, partner: Partner
) -> None:
    ada = partner.end_user("ada")
    (refused,) = calls(browser, front_end, ada, ("POST", "/v1/patients", PATIENT))
    assert (refused["status"], refused["body"]["error"]["code"]) == (403, "origin_not_allowed")
    assert partner.get("/v1/patients")["data"] == []
