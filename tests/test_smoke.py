"""What pages are asked when they are released, and what their answers are taken for."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra import smoke
from infra.applying import StoppedError
from infra.checking import mail
from infra.gcloud import ENVIRONMENT
from infra.smoke import NoWayError, ask_page
from tests.support.google_cloud import BELIEVED, GoogleCloud
from tests.support.google_cloud.wire import Answer, Call, Proxy

VALUES = {"commit": "0" * 40, "region": "europe-west2", "project": "ally-staging"}
DASHBOARD = {"function": "dashboard", "audience": "browser", "host": "dashboard.ally.example"}
OPERATIONS = {"function": "operations", "audience": "staff", "host": "operations.ally.example"}
OURS = {"Request-Id": "req_0", "Location": "/sign-in"}
GOOGLES = {"Location": "https://accounts.google.com/o/oauth2/v2/auth?client_id=x"}


@pytest.fixture
def internet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Every host there is, which answers as it was told last."""
    monkeypatch.setattr(smoke, "PAUSE", 0)
    answers = [Answer(b"")]

    def answer(_: Call) -> Answer:
        return answers[-1]

    proxy = Proxy(tmp_path, answer)
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.server_port}")
    for name in BELIEVED:
        monkeypatch.setenv(name, str(proxy.certificates))

    def say(status: int, headers: dict[str, str]) -> None:
        answers.append(Answer(b"", status, headers))

    yield say
    proxy.stop()


def test_pages_lead_nobody_in_to_where_they_sign_in(internet: Callable[..., None]) -> None:
    internet(303, OURS)
    assert ask_page(DASHBOARD, VALUES) == "dashboard: GET https://dashboard.ally.example/ 303"
    internet(302, GOOGLES)
    assert ask_page(OPERATIONS, VALUES) == "operations: GET https://operations.ally.example/ 302"


@pytest.mark.parametrize(
    ("portal", "status", "headers"),
    [
        (DASHBOARD, 500, OURS),
        (DASHBOARD, 502, {}),
        (DASHBOARD, 303, {"Location": "/sign-in"}),
        (DASHBOARD, 302, GOOGLES),
        # Whoever is asked for no Google account is let in by nobody.
        (OPERATIONS, 303, OURS),
        (OPERATIONS, 200, OURS),
        (OPERATIONS, 302, {**GOOGLES, "Request-Id": "req_0"}),
        (OPERATIONS, 302, {"Location": "https://accounts.google.com.evil.example/"}),
        (OPERATIONS, 404, {}),
    ],
    ids=str,
)
def test_any_other_answer_is_wrong(
    portal: dict[str, str], status: int, headers: dict[str, str], internet: Callable[..., None]
) -> None:
    internet(status, headers)
    with pytest.raises(StoppedError, match=rf"https://{portal['host']}/ answered {status}"):
        ask_page(portal, VALUES)


def test_a_name_that_leads_nowhere_yet_is_no_wrong_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(smoke, "PAUSE", 0)
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(NoWayError, match=r"not asked, for https://dashboard\.invalid"):
        ask_page({**DASHBOARD, "host": "dashboard.invalid"}, VALUES)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with pytest.raises(NoWayError):
            ask_page({**DASHBOARD, "host": f"127.0.0.1:{nobody.getsockname()[1]}"}, VALUES)


def test_a_certificate_that_is_not_the_hosts_is_a_way_that_is_not_there_yet(
    internet: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    internet(303, OURS)
    for name in BELIEVED:
        monkeypatch.delenv(name)
    with pytest.raises(NoWayError, match="certificate"):
        ask_page(DASHBOARD, VALUES)


def test_a_deployment_says_how_the_password_of_mail_is_made_where_there_is_none(
    google_cloud: GoogleCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in google_cloud.environment.items():
        monkeypatch.setenv(name, value)
    google_cloud.project("ally-staging").services.add("secretmanager")
    values = {**VALUES, "smtp": "smtps://smtp.ally.example:465", "smtp_user": "ally"}
    (told,) = mail(values)
    command = told.partition("| gcloud ")[2]
    with monkeypatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setitem(google_cloud.environment, name, value)
        google_cloud.ask(command, stdin="a password")
    assert list(mail(values)) == ["it is there, for ally at smtps://smtp.ally.example:465"]
    assert list(mail({**values, "smtp_user": ""})) == [
        "smtps://smtp.ally.example:465 is not asked for any"
    ]
