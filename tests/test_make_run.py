"""`make run` as a newcomer meets it: on a fresh clone, from the first start to Ctrl-C."""

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.support import cloud_tasks
from tests.support.addresses import ADDRESSES
from tests.support.html import Html
from tests.support.processes import ROOT, Process, free_port, listens

CALL = re.compile(r"^# (.+)\n((?:curl .*\\\n)(?:  .*\n)+)", re.MULTILINE)


class Clone:
    """A clone of what git tracks, with nothing in it that a test or a person left behind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        tracked = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout
        for name in filter(None, tracked.split("\0")):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
        self.port, self.http_port = free_port(), free_port()
        self.output = folder.parent / f"{folder.name}.log"

    def run(self) -> Process:
        """Type `make run`, on ports that are free here, and wait until it serves."""
        arguments = f"ARGS=--port {self.port} --http-port {self.http_port}"
        process = Process(
            ["make", "-C", str(self.folder), "run", f"PYTHON={sys.executable}", arguments],
            self.output,
            {"PIP_COMPILE": "0"},  # whatever is imported, Python compiles then
        )
        process.wait_until(lambda: "Serving" in self.output.read_text(), "make run", 300)
        return process

    def printed_calls(self) -> dict[str, str]:
        return dict(CALL.findall(self.output.read_text()))

    def paste(self, command: str) -> dict[str, object]:
        """Run a printed command in the clone, exactly as it is printed."""
        ran = subprocess.run(
            ["sh", "-c", command], cwd=self.folder, capture_output=True, text=True, check=True
        )
        answer: dict[str, object] = json.loads(ran.stdout)
        assert "error" not in answer, ran.stdout
        return answer


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return Clone(tmp_path_factory.mktemp("clone"))


def commands_of_the_page(clone: Clone) -> str:
    """Return the first commands of the quick start: what to tell the shell, and the first call."""
    trust = ssl.create_default_context(cafile=clone.folder / ".ally" / "localhost-ca.pem")
    page = httpx.get(f"https://localhost:{clone.port}/docs", verify=trust).text
    plain = [code for _, code in Html(page).blocks]
    first_call = next(code for code in plain if code.startswith("curl "))
    assert plain[0].startswith("export CURL_CA_BUNDLE=")
    return f"{plain[0]}\n{first_call}"


def ctrl_c(process: Process) -> int:
    """Send what a terminal sends to everything that runs in it."""
    os.killpg(process.child.pid, signal.SIGINT)
    return process.child.wait(20)


@pytest.mark.timeout(400)
def test_a_newcomer_runs_pastes_stops_and_finds_everything_again(clone: Clone) -> None:
    process = clone.run()
    try:
        calls = clone.printed_calls()
        assert len(calls) == 5
        answers = [clone.paste(command) for command in calls.values()]
        kinds = [
            str(answer.get("url") or answer["object"]).removeprefix("/v1/") for answer in answers
        ]
        assert kinds == ["organisations", "patient", "tasks", "availability", "appointment"]
        assert clone.paste(commands_of_the_page(clone))["url"] == "/v1/organisations"
    finally:
        ctrl_c(process)
    first = clone.output.read_text()
    assert "Stopped." in first
    assert "Traceback" not in first
    assert list((clone.folder / "shared" / "__pycache__").glob("api.*.pyc"))  # for the next start
    made = {str(answer["id"]) for answer in answers if "id" in answer}

    clone.output.write_text("")
    process = clone.run()
    try:
        again = clone.printed_calls()
        key = re.search(r"test_\w+\.\w+", first)
        assert key is not None
        assert key[0] in clone.output.read_text()
        certificate = clone.folder / ".ally" / "localhost-ca.pem"
        for kind in ("patients", "appointments"):
            command = (
                f"curl --cacert {certificate} -H 'Authorization: {key[0]}'"
                f" https://localhost:{clone.port}/v1/{kind}"
            )
            listed = clone.paste(command)
            data = listed["data"]
            assert isinstance(data, list)
            made -= {each["id"] for each in data}
        assert made == set()
        for command in again.values():
            clone.paste(command)
    finally:
        ctrl_c(process)


def test_the_state_is_ignored_by_git() -> None:
    for path in (".ally/documents.sqlite", ".venv/x", ".venv-newest/x"):
        ran = subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT, check=False)
        assert ran.returncode == 0, path


# --- The server itself, without make -------------------------------------------------------------


def start(
    folder: Path, *arguments: str, like_a_person: bool = False, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Start a server that is expected to refuse; return how it ended and what it said.

    `like_a_person` takes from root, where the tests run as root, the right to write everywhere.
    """
    bound = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
    return subprocess.run(
        [
            *(bound if like_a_person and os.geteuid() == 0 else []),
            *(sys.executable, "-m", "functions", *arguments),
        ],
        cwd=ROOT,
        env={**os.environ, "ALLY_STATE": str(folder), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def refusal(ended: subprocess.CompletedProcess[str]) -> str:
    """Return the one sentence of a refusal to start."""
    assert ended.returncode == 1
    assert ended.stdout == ""
    lines = ended.stderr.strip().splitlines()
    assert len(lines) == 1, ended.stderr
    return lines[0]


@pytest.mark.parametrize("option", ["--port", "--http-port"])
def test_a_taken_port_gets_one_clear_sentence(tmp_path: Path, option: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = str(other.getsockname()[1])
        free = {"--port": "--http-port", "--http-port": "--port"}[option]
        said = refusal(start(tmp_path, option, taken, free, str(free_port())))
    assert f"port {taken} cannot be used" in said
    assert option in said


@pytest.mark.parametrize("name", ["documents.sqlite", "secrets.json"])
def test_a_broken_state_file_gets_one_clear_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x00broken" * 1000)
    said = refusal(start(tmp_path, "--port", str(free_port()), "--http-port", str(free_port())))
    assert name in said
    assert "move it away" in said


def test_a_state_of_another_version_gets_one_clear_sentence(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "documents.sqlite")) as other:
        other.execute("PRAGMA user_version = 9")
    said = refusal(start(tmp_path, "--port", str(free_port()), "--http-port", str(free_port())))
    assert "another version" in said


def test_a_folder_that_cannot_be_made_gets_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = start(tmp_path / "file" / "state", "--port", str(free_port()))
    assert "cannot be made" in refusal(ended)


def test_an_unwritable_folder_gets_one_clear_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    said = refusal(start(tmp_path, "--port", str(free_port()), like_a_person=True))
    assert "cannot be written to" in said


def test_a_wrong_setting_gets_one_clear_sentence(tmp_path: Path) -> None:
    assert "ALLY_BACKEND" in refusal(start(tmp_path, ALLY_BACKEND="cloud"))
    assert "GOOGLE_CLOUD_PROJECT" in refusal(
        start(tmp_path, ALLY_BACKEND="google", GOOGLE_CLOUD_PROJECT="")
    )
    assert "ALLY_PEPPER" in refusal(
        start(tmp_path, ALLY_BACKEND="google", GOOGLE_CLOUD_PROJECT="p", ALLY_PEPPER="short")
    )
    assert "of its own" in refusal(start(tmp_path, ALLY_ROOT_TEST="ally", ALLY_ROOT_LIVE="ally"))
    assert "ALLY_BODY_LIMIT" in refusal(start(tmp_path, ALLY_BODY_LIMIT="inf"))
    assert "credentials" in refusal(
        start(
            tmp_path,
            *("--port", str(free_port()), "--http-port", str(free_port())),
            ALLY_BACKEND="google",
            GOOGLE_CLOUD_PROJECT="p",
            ALLY_PEPPER="x" * 32,
            GOOGLE_APPLICATION_CREDENTIALS="",
            like_a_person=False,
            **ADDRESSES,
            ALLY_QUEUE=cloud_tasks.QUEUE,
            ALLY_WORKER_URL="https://worker.example",
            ALLY_WORKER_ACCOUNT=cloud_tasks.ACCOUNT,
            NO_GCE_CHECK="true",
            HOME=str(tmp_path),
        )
    )
    assert "FIRESTORE_EMULATOR_HOST" in refusal(
        start(tmp_path, FIRESTORE_EMULATOR_HOST="firestore.example.com:80")
    )


def test_a_port_that_is_none_is_refused(tmp_path: Path) -> None:
    ended = start(tmp_path, "--port", "99999")
    assert ended.returncode == 2
    assert "1 to 65535" in ended.stderr


def test_a_log_that_cannot_be_opened_gets_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "requests.jsonl").mkdir()
    said = refusal(start(tmp_path, "--port", str(free_port()), "--http-port", str(free_port())))
    assert "requests.jsonl" in said


def test_a_start_makes_up_for_a_file_that_was_moved_away(tmp_path: Path) -> None:
    output = tmp_path / "server.log"
    state = tmp_path / "state"
    for lost in ("nothing", "documents.sqlite", "secrets.json", "localhost.key", "localhost.pem"):
        for file in state.glob(f"{lost}*"):
            file.unlink()
        process = Process(
            [
                *(sys.executable, "-m", "functions"),
                *("--port", str(free_port()), "--http-port", str(free_port())),
            ],
            output,
            {"ALLY_STATE": str(state)},
        )
        process.wait_until(lambda: "Serving" in output.read_text(), "The server")
        assert process.stop() == 0
        assert output.read_text().count("# Create an appointment") == 1
        output.write_text("")


@pytest.mark.parametrize(("action", "body"), [("roll", {"overlap": "0"}), ("revoke", {})])
def test_a_start_after_the_printed_key_has_ended_prints_another_of_the_same_organisation(
    tmp_path: Path, action: str, body: dict[str, str]
) -> None:
    output, state = tmp_path / "server.log", tmp_path / "state"
    seen: list[str] = []
    for _ in range(2):
        output.write_text("")
        port = free_port()
        process = Process(
            [
                *(sys.executable, "-m", "functions"),
                *("--port", str(port), "--http-port", str(free_port())),
            ],
            output,
            {"ALLY_STATE": str(state)},
        )
        process.wait_until(lambda: "Serving" in output.read_text(), "The server")
        key = re.search(r"test_\w+\.\w+", output.read_text())
        assert key is not None
        with httpx.Client(
            base_url=f"https://localhost:{port}",
            verify=ssl.create_default_context(cafile=state / "localhost-ca.pem"),
            headers={"Authorization": key[0]},
        ) as client:
            (organisation,) = client.get("/v1/organisations").json()["data"]
            seen.append(organisation["id"])
            newest = client.get("/v1/api_keys").json()["data"][0]["id"]
            ended = client.post(f"/v1/api_keys/{newest}/{action}", json=body)
            assert ended.status_code == 200
        assert process.stop() == 0
    assert seen[0] == seen[1]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[int, int]]:
    ports = free_port(), free_port()
    process = Process(
        [
            *(sys.executable, "-m", "functions", "--quiet"),
            *("--port", str(ports[0]), "--http-port", str(ports[1])),
        ],
        tmp_path / "server.log",
        {"ALLY_STATE": str(tmp_path)},
    )
    process.wait_until(lambda: listens(ports[1]), "The server")
    yield ports
    assert process.stop() == 0


def test_plain_http_is_refused_whatever_it_carries(served: tuple[int, int]) -> None:
    _, http_port = served
    for method, path in (("GET", "/"), ("POST", "/v1/patients"), ("DELETE", "/v1/patients/p_1")):
        answer = httpx.request(
            method,
            f"http://127.0.0.1:{http_port}{path}",
            headers={"Authorization": "test_secret"},
            content=b"x" * 1_000_000 if method == "POST" else None,
        )
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert error["code"] == "https_required"
        assert error["request_id"] == answer.headers["Request-Id"]


def test_plain_http_is_refused_for_what_is_no_http_too(served: tuple[int, int]) -> None:
    with socket.create_connection(("127.0.0.1", served[1]), 5) as raw:
        raw.sendall(b"\x16\x03\x01 nonsense\r\n")
        assert b"https_required" in raw.recv(4096)


def test_help_says_what_can_be_chosen() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "functions", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--port" in ran.stdout
    assert "8443" in ran.stdout
