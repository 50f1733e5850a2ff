"""A partner's front end, in a real browser on a page of its own origin."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.support.browser import Browser
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


class FrontEnd:
    """An empty page on this machine, and the origin of it."""

    def __init__(self) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(b"<!DOCTYPE html><title>A front end</title>")

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://localhost:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def front_end() -> Iterator[FrontEnd]:
    running = FrontEnd()
    yield running
    running.stop()


def calls(
    browser: Browser, front_end: FrontEnd, partner: Partner, *requests: tuple[str, str, Json | None]
) -> list[Json]:
    """Let the page send requests as the partner's end user, and return what it could read."""

    def act(page: Page) -> list[Json]:
        return [
            page.evaluate(CALL, [partner.server.url + path, method, partner.key, body])
            for method, path, body in requests
        ]

    return browser.visit(front_end.origin, act, calls=partner.server.url)


def test_a_page_of_a_registered_origin_calls_for_its_end_user_and_reads_errors_too(
    browser: Browser, front_end: FrontEnd, partner: Partner
) -> None:
    partner.patch_organisation(frontEndOrigins=[front_end.origin])
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
    browser: Browser, front_end: FrontEnd, partner: Partner
) -> None:
    ada = partner.end_user("ada")
    (refused,) = calls(browser, front_end, ada, ("POST", "/v1/patients", PATIENT))
    assert (refused["status"], refused["body"]["error"]["code"]) == (403, "origin_not_allowed")
    assert partner.get("/v1/patients")["data"] == []
