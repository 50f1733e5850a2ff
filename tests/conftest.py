"""Fixtures: the two backends, a running server on each, and partners that call it."""

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TypeVar

import pytest

from tests.support import browser as chromium
from tests.support import cloud_tasks, generators, image, leaks, tools
from tests.support import emulator as firestore
from tests.support import google_cloud as google
from tests.support.addresses import ADDRESSES
from tests.support.deployment import Deployment
from tests.support.id_tokens import PROJECTS, proxy, signer
from tests.support.log_sink import LogSink
from tests.support.mail_server import MailServer
from tests.support.monitoring import monitoring
from tests.support.scale import set_chance
from tests.support.secret_manager import SecretManager
from tests.support.sending import serving
from tests.support.serving import SEEDED, Backing, Partner, Server, unique_project
from tests.support.worker import Worker
from tests.support.yard import Yard

# What `make test` was given must not reach the make that a test runs.
for name in ("MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "ARGS", "VENV", "PYTHON"):
    os.environ.pop(name, None)

set_chance()

# The suite against the Firebase emulator, 300 MB of it, runs when it is asked for by its path.
collect_ignore = ["firebase"]
T = TypeVar("T")

BACKENDS = ("local", "google")
NOWHERE = "127.0.0.1:1"
"""Where nobody listens: jobs are not queued but where a test has them done."""
CI = os.environ.get("CI") == "true"


def needed(found: T | None, missing: str) -> T:
    """Return what was found for tests to use. Without it, CI fails and a developer is told."""
    if not found:
        (pytest.fail if CI else pytest.skip)(missing)
    return found


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[firestore.Emulator]:
    """The Firestore emulator."""
    jar = needed(firestore.find_jar(), firestore.MISSING)
    running = firestore.Emulator(jar, tmp_path_factory.mktemp("emulator"))
    yield running
    running.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[chromium.Browser]:
    """A Chromium."""
    running = chromium.Browser(needed(chromium.find_chromium(), chromium.MISSING))
    yield running
    running.close()


@pytest.fixture
def google_cloud(tmp_path: Path) -> Iterator[google.GoogleCloud]:
    """Google Cloud with two projects in which nothing is yet, for the real gcloud to talk to.

    All that was asked of it must have been known.
    """
    needed(google.find_gcloud(), google.MISSING)
    running = google.GoogleCloud(tmp_path, google.PROJECTS)
    yield running
    running.stop()
    assert running.unknown == []


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A project that was empty, deployed: to be looked at."""
    needed(google.find_gcloud(), google.MISSING)
    folder = tmp_path_factory.mktemp("deploy")
    running = google.GoogleCloud(folder, google.PROJECTS)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in running.environment.items():
            patch.setenv(name, value)
        files = folder / "files"
        files.mkdir()
        deployment = Deployment(running, files)
        deployment.bring_about()
    yield deployment
    running.stop()
    assert running.unknown == []


@pytest.fixture
def deployment(made: Deployment, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    """The same, as it was right after its deployment: to be deployed again."""
    for name, value in made.google.environment.items():
        monkeypatch.setenv(name, value)
    with made.as_it_was():
        yield made


@pytest.fixture(scope="session")
def uploaded() -> set[str]:
    """What is built into the image: the files that gcloud would upload."""
    return image.uploaded(needed(google.find_gcloud(), google.MISSING))


@pytest.fixture(scope="session")
def redocly() -> Path:
    """The linter of OpenAPI documents."""
    return needed(tools.find("redocly"), tools.MISSING)


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], generators.Client]:
    """Makes clients, each once."""
    needed(generators.found(), generators.MISSING)
    return cache(lambda language: generators.LANGUAGES[language](tmp_path_factory.mktemp(language)))


LONGEST = (
    *("tests/test_deploy.py", "tests/test_releases.py", "tests/test_deployed_work.py"),
    *("tests/test_readme.py", "tests/test_usage_oracle.py"),
)


@pytest.hookimpl(tryfirst=True)  # xdist looks for groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Set up once what a module shares, and begin with what takes longest.

    So no process does what another has done, and none is alone with much at the end.
    """
    for item in items:
        if item.get_closest_marker("xdist_group") is None and uses_of_its_module(item):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


def uses_of_its_module(item: pytest.Item) -> bool:
    """Say whether a test uses what is set up once for its module."""
    if not isinstance(item, pytest.Function):
        return False
    used = item._fixtureinfo.name2fixturedefs.values()
    return any(found[-1].scope == "module" for found in used)


WITNESSED = leaks.begin()
"""Where this run keeps what must hold no patient's value; None in a process that it started."""


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Search all that the whole suite's servers wrote for values of patients."""
    if WITNESSED is None:
        return
    factory: pytest.TempPathFactory = session.config._tmp_path_factory  # type: ignore[attr-defined]  # pytest shows it to fixtures alone
    found = list(leaks.search(leaks.written(factory.getbasetemp()), SEEDED))
    shutil.rmtree(WITNESSED)
    for leak in found[:20]:
        print(f"\nA patient's value got out: {leak.value!r} in {leak.file.name}: {leak.line[:500]}")
    if found:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly what was not run."""
    skipped = terminalreporter.stats.get("skipped", [])
    for missing in (
        firestore.MISSING,
        chromium.MISSING,
        tools.MISSING,
        generators.MISSING,
        google.MISSING,
    ):
        if any(missing in str(report.longrepr) for report in skipped):
            terminalreporter.section("NOT TESTED", red=True, bold=True)
            terminalreporter.line(missing, red=True)


@pytest.fixture(scope="session")
def secret_manager() -> Iterator[SecretManager]:
    """A loopback stand-in for Secret Manager."""
    running = SecretManager()
    yield running
    running.stop()


@pytest.fixture(scope="session", params=BACKENDS)
def backing(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Backing]:
    """Where documents and keys are: each test that uses it runs on both backends."""
    made = Backing(environment_of(request, tmp_path_factory.mktemp("state")))
    yield made
    made.close()


def environment_of(request: pytest.FixtureRequest, folder: Path) -> dict[str, str]:
    """Return the settings of the backend that a fixture's parameter names, empty."""
    environment = {
        "ALLY_BACKEND": request.param,
        "ALLY_STATE": str(folder),
        "ALLY_LOG": str(folder / "requests.jsonl"),
        "ALLY_URL": ADDRESSES["ALLY_URL"],
        # Tests make many requests with one key, and many keys; limits have tests of their own.
        "ALLY_RATE_TEST": "1000000",
        "ALLY_RATE_LIVE": "1000000",
        "ALLY_RATE_END_USER": "1000000",
        "ALLY_KEY_LOOKUPS": "100000",
        "ALLY_LOG_RATE": "1000000",
        **{f"ALLY_FIREBASE_{mode.upper()}": name for mode, name in PROJECTS.items()},
    }
    if request.param == "google":
        environment |= google_environment(
            request.getfixturevalue("emulator"), request.getfixturevalue("secret_manager")
        )
    return environment


def google_environment(emulator: firestore.Emulator, manager: SecretManager) -> dict[str, str]:
    """Return the settings of a google backend that is empty, on this machine."""
    return {
        "ALLY_BACKEND": "google",
        "GOOGLE_CLOUD_PROJECT": unique_project(),
        "FIRESTORE_EMULATOR_HOST": emulator.address,
        "ALLY_SECRET_MANAGER_HOST": manager.address,
        "ALLY_MONITORING_HOST": monitoring().address,
        # On a busy machine the emulator stands still for seconds; what is tested is not that.
        "ALLY_STORAGE_TIMEOUT": "25",
        "ALLY_DATABASE_TEST": "test",
        "ALLY_DATABASE_LIVE": "live",
        "ALLY_DATABASE_ACCOUNT": "account",
        "ALLY_PEPPER": secrets.token_hex(32),
        "ALLY_FIREBASE_KEYS": signer().address,
        "ALLY_IAP_KEYS": proxy().address,
        **ADDRESSES,
        **cloud_tasks.settings("https://worker.ally.example", NOWHERE),
    }


@pytest.fixture(scope="session")
def server(backing: Backing) -> Iterator[Server]:
    """The whole API in a process of its own."""
    # Many callers at once may need more than 5 s on a busy machine; a race is not about that.
    running = Server(backing, Path(backing.environment["ALLY_STATE"]), ALLY_LOCK_TIMEOUT="20")
    yield running
    running.stop()


@pytest.fixture(scope="session")
def log_sink(backing: Backing, server: Server) -> Iterator[LogSink | None]:
    """What folds the lines that the server writes from now on; None where it does so itself."""
    if backing.environment["ALLY_BACKEND"] == "local":
        yield None
        return
    worker = Worker(backing.environment, Path(backing.environment["ALLY_STATE"]))
    running = LogSink(Path(backing.environment["ALLY_LOG"]), worker.url)
    yield running
    running.stop()
    worker.process.stop()


@pytest.fixture(params=BACKENDS)
def yard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Yard]:
    """Jobs in the test's own process, on a backend that is empty."""
    made = Yard(environment_of(request, tmp_path))
    yield made
    made.close()


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    """A server that takes mail."""
    with serving() as running:
        yield running


@pytest.fixture
def partner(backing: Backing, server: Server) -> Partner:
    """An organisation of the test's own, in test mode."""
    return backing.partner(server)


@pytest.fixture
def other(backing: Backing, server: Server) -> Partner:
    """Another organisation."""
    return backing.partner(server, "Other Health")
