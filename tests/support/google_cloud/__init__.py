"""Google Cloud as far as the real gcloud can see it: a stand-in on loopback, which remembers."""

import json
import os
import re
import shlex
import shutil
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.support.google_cloud import (
    building,
    data,
    gateway,
    network,
    platform,
    quick,
    running,
    storage,
    watching,
    work,
)
from tests.support.google_cloud.kinds import respond
from tests.support.google_cloud.state import Refusal, State, UnknownCall
from tests.support.google_cloud.wire import Answer, Call, Json, Proxy

MISSING = (
    "gcloud was not found, so nothing of infra/ was tried. Install the Google Cloud CLI and its"
    " components alpha and beta."
)
PROJECTS = {"ally-staging": "100000000001", "ally-production": "100000000002"}
"""What tests find: the id and the number of each project."""
BELIEVED = (
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
)
"""Where programs read whose certificates they are to believe."""
TRIES = 5
"""How often gcloud sends what is answered by a server's error."""
SERVICES = (building, data, gateway, network, platform, running, storage, watching, work)
"""What is known. Each makes its kinds and its routes known when it is imported."""
SITES = (".run.app", ".gateway.dev", ".ally.example")
"""Where what is deployed answers."""
READS = re.compile(r"[:/](generate|get|list|test|query|validate)\w*$|[/:]wait$")
"""What is posted and changes nothing."""
FREE_SERVICES = frozenset({"cloudresourcemanager", "serviceusage", "cloudbilling"})
"""What gcloud can ask though the project has not enabled it."""


def find_gcloud() -> str | None:
    """Return gcloud's path, if it is installed."""
    return shutil.which("gcloud")


@dataclass
class Fault:
    """What goes wrong: the nth matching call from now on, as many times as is said."""

    status: int
    method: str | None
    path: re.Pattern[str]
    nth: int
    times: int
    said: str
    seen: int = 0

    def strikes(self, call: Call) -> bool:
        """Say whether this call is to fail, and count it."""
        fits = is_write(call) if self.method is None else call.method == self.method
        if not fits or not self.path.search(call.host + call.path):
            return False
        self.seen += 1
        return self.nth <= self.seen < self.nth + self.times


class GoogleCloud(State):
    """A stand-in for Google that the real gcloud talks to.

    It is a proxy for every address and has certificates that gcloud believes: what gcloud sends is
    what Google would get, host and region included, and nothing leaves the machine. Resources are
    created, read, listed, changed and deleted as Google does it, with the fields that a server
    adds. What Google refuses is refused: what is there already, what is not, a service that the
    project has not enabled, a member that does not exist. What it does not know it answers by 501
    and keeps in `unknown`; the fixture looks at the end of a test that there is nothing.

    `projects` are the ids of those that exist, empty, each with its number. A test may look at
    `resources`, `policies` and `payloads`, at the `calls`, and at those that were `writes`. It may
    also say what is not decided by what was asked: `fail` and `recover`; `broken` services, whose
    next revisions do not start; `images`, as if they were built; `entries` that were logged; and
    `site`, which answers for what is deployed, at the addresses that services and gateways get.
    """

    def __init__(self, folder: Path, projects: dict[str, str]) -> None:
        super().__init__(projects)
        self.calls: list[Call] = []
        self.unknown: list[str] = []
        self.site: Callable[[Call], Answer] | None = None
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        watching.seed(self)
        self._proxy = Proxy(folder, self._answer)
        self.environment = self._environment(folder)
        """All that a process needs, and may know, to ask this instead of Google."""

    def stop(self) -> None:
        self._proxy.stop()

    @property
    def writes(self) -> list[Call]:
        """The calls that were to change something."""
        return [call for call in self.calls if is_write(call)]

    def fail(
        self,
        status: int = 403,
        path: str = "",
        *,
        method: str | None = None,
        nth: int = 1,
        times: int | None = None,
        said: str = "Told to fail",
    ) -> None:
        """Refuse the nth write from now on, of those whose host and path match.

        It is refused once, or five times if the status is a server's error, which gcloud tries
        again by itself. With a method it need not be a write.
        """
        times = times or (TRIES if status >= 500 else 1)
        with self._lock:
            self._faults.append(Fault(status, method, re.compile(path), nth, times, said))

    def recover(self) -> None:
        """Work as it should from now on."""
        with self._lock:
            self._faults.clear()

    def gcloud(self, command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run gcloud to its end, however it ends. The command is quoted as for a shell."""
        return subprocess.run(
            ["gcloud", *shlex.split(command)],
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def ask(self, command: str, stdin: str = "") -> Json:
        """Return what gcloud prints, as JSON, at a command that must succeed."""
        done = self.gcloud(f"{command} --format=json", stdin)
        assert done.returncode == 0, f"gcloud {command}\n{done.stderr}"
        return json.loads(done.stdout or "null")

    def _answer(self, call: Call) -> Answer:
        with self._lock:
            self.calls.append(call)
            try:
                self._strike(call)
                if self.site and call.host.endswith(SITES):
                    return self.site(call)
                self._refuse_what_is_not_enabled(call)
                answer = respond(self, call)
            except Refusal as refusal:
                return refusal.answer
            except Exception as error:
                return self._lost(call, error)
            return answer if isinstance(answer, Answer) else Answer(answer)

    def _lost(self, call: Call, error: Exception) -> Answer:
        """Say loudly that this was not foreseen."""
        asked = f"{call.method} {call.host}{call.path}"
        if not isinstance(error, UnknownCall):
            asked = f"{asked}: {error!r}"
        if asked not in self.unknown:  # gcloud tries again
            self.unknown.append(asked)
        return Refusal(501, f"The stand-in for Google does not know: {asked}").answer

    def _strike(self, call: Call) -> None:
        struck = [fault for fault in self._faults if fault.strikes(call)]  # each counts the call
        if struck:
            raise Refusal(struck[0].status, f"{struck[0].said}: {call.method} {call.path}")

    def _refuse_what_is_not_enabled(self, call: Call) -> None:
        found = re.match(r"(?:projects|namespaces)/([^/:]+)", call.name)
        name = found[1] if found else call.headers["X-Goog-User-Project"]
        if not name or name == "-" or call.service in FREE_SERVICES:
            return
        project = self.project(name)
        if call.service not in project.services:
            api = f"{call.service}.googleapis.com"
            raise Refusal(
                403,
                f"{api} has not been used in project {project.number} before or it is disabled.",
            )

    def _environment(self, folder: Path) -> dict[str, str]:
        proxy = f"http://127.0.0.1:{self._proxy.server_port}"
        token = folder / "token"
        token.write_text("a-token")
        return quick.inherited() | {
            "CLOUDSDK_CONFIG": str(folder / "gcloud"),
            "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(token),
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
            "CLOUDSDK_CORE_CHECK_GCE_METADATA": "false",
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
            "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
            "CLOUDSDK_SURVEY_DISABLE_PROMPTS": "1",
            # Else gcloud starts two programs to ask how large the terminal is, which there is not.
            "COLUMNS": "80",
            "LINES": "24",
            "CLOUDSDK_PROXY_TYPE": "http",
            "CLOUDSDK_PROXY_ADDRESS": "127.0.0.1",
            "CLOUDSDK_PROXY_PORT": str(self._proxy.server_port),
            # Whatever else is started must not leave the machine either.
            "http_proxy": proxy,
            "https_proxy": proxy,
            **dict.fromkeys(BELIEVED, str(self._proxy.certificates)),
            **quick.FOUND_AT_THE_START,
            "PATH": f"{quick.launcher()}:{os.environ['PATH']}",
        }


def is_write(call: Call) -> bool:
    """Say whether a call is to change something of Google's, and not of what is deployed."""
    if call.host.endswith(SITES):
        return False
    if call.method == "POST":
        return not READS.search(call.name)
    return call.method in {"PUT", "PATCH", "DELETE"}
