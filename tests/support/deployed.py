"""The functions as they are deployed: each a process of its own, out of the image, behind Envoy."""

import json
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import httpx

from infra import gateway, services
from infra.values import REGION, values
from shared.routes import Routes
from tests.support import image
from tests.support.conformity import conforming
from tests.support.emulator import Emulator
from tests.support.envoy import Envoy
from tests.support.id_tokens import signer
from tests.support.monitoring import monitoring
from tests.support.processes import Process, free_port, listens
from tests.support.secret_manager import SecretManager

Json = dict[str, Any]

NUMBER = "123456789012"
VALUES = values("staging", commit="tested", number=NUMBER)
"""What staging's deployment declares. Its project is empty in every emulator."""
WORKSPACE = "/workspace"
"""Where the sources are in an image."""


class Function:
    """A function, started by the image's own command with the variables of its service."""

    def __init__(self, name: str, workspace: Path, stand_ins: Mapping[str, str]) -> None:
        self.name = name
        self.port = free_port()
        declared = services.environment(name, VALUES)
        installed = image.environment_of_requirements() / "bin"
        self.process = Process(
            ["functions-framework"],
            workspace.with_name(f"{name}-{self.port}.log"),
            {
                **{key: each.replace(WORKSPACE, str(workspace)) for key, each in declared.items()},
                **stand_ins,
                "PATH": str(installed),
                "PYTHONUNBUFFERED": "TRUE",  # as the buildpack's layer says
                "CLOUD_RUN_TIMEOUT_SECONDS": "1",  # as Cloud Run says, but for how many they are
                "K_SERVICE": services.service_name(name),
                "HOST": "127.0.0.1",
                "PORT": str(self.port),
            },
            folder=workspace,
            alone=True,
        )

    def wait(self) -> None:
        """Wait until it listens, as Cloud Run does."""
        self.process.wait_until(lambda: listens(self.port), f"The function {self.name}")

    def lines(self) -> list[Json]:
        """Return what it wrote of requests."""
        written = self.process.output.read_text().splitlines()
        return [json.loads(line) for line in written if line.startswith("{")]


def _hosts() -> dict[str, str]:
    """Return the function that each portal's host leads to, by the balancer's own map."""
    services = {each["service"]: each["function"] for each in VALUES["portals"]}
    leads = {
        each["name"]: each["defaultService"].rpartition("/")[2]
        for each in json.loads(VALUES["path_matchers"])
    }
    return {
        host: services[leads[rule["pathMatcher"]]]
        for rule in json.loads(VALUES["host_rules"])
        for host in rule["hosts"]
    }


class Deployed:
    """All functions behind an Envoy that leads to them by the gateway's document of `apis`.

    `private` are the ports of other services, by function.
    """

    def __init__(
        self,
        files: set[str],
        apis: Iterable[Routes],
        private: Mapping[str, int],
        backends: tuple[Emulator, SecretManager],
        folder: Path,
    ) -> None:
        emulator, manager = backends
        self.workspace = folder / "workspace"
        self.stand_ins = {
            "FIRESTORE_EMULATOR_HOST": emulator.address,
            "ALLY_SECRET_MANAGER_HOST": manager.address,
            "ALLY_MONITORING_HOST": monitoring().address,
            "ALLY_CLOUD_TASKS_HOST": "127.0.0.1:1",  # nobody queues here
            "ALLY_FIREBASE_KEYS": signer().address,
        }
        pepper = f"projects/{VALUES['project']}/locations/{REGION}/secrets/pepper"
        manager.versions.setdefault(pepper, [secrets.token_hex(32).encode()])
        python = image.environment_of_requirements() / "bin" / "python"
        image.build(files, self.workspace, str(python))
        known = list(apis)
        self.functions = {
            api.name: Function(api.name, self.workspace, self.stand_ins)
            for api in known
            if api.name not in private
        }
        document = gateway.document(known, number=NUMBER, region=REGION)
        ports = {name: function.port for name, function in self.functions.items()}
        self.host: str = VALUES["host"]
        self.envoy = Envoy(document, {**ports, **private}, self.host, _hosts(), folder)
        self._clients: dict[str, httpx.Client] = {}

    def wait(self) -> None:
        """Wait until all of it listens."""
        for function in self.functions.values():
            function.wait()
        self.envoy.wait()

    @property
    def environment(self) -> dict[str, str]:
        """The settings of a backing that the functions share."""
        return {**services.environment("patients", VALUES), **self.stand_ins}

    def send(self, method: str, path: str, key: object = None, **options: Any) -> httpx.Response:
        """Call as a partner does, through the gateway, with a key or without."""
        headers = {**options.pop("headers", {})}
        if key is not None:
            headers["Authorization"] = str(key)
        return conforming(self.ask(method, path, headers=headers, **options))

    def ask(
        self,
        method: str,
        path: str,
        *,
        source: str = "127.0.0.1",
        host: str = "",
        **options: Any,
    ) -> httpx.Response:
        """Call from one of this machine's addresses; the answer may be the gateway's own.

        `host` is the name that is called, where it is not the API's.
        """
        host = host or self.host
        if source not in self._clients:
            transport = httpx.HTTPTransport(verify=self.envoy.tls(), local_address=source)
            self._clients[source] = httpx.Client(
                base_url=f"https://127.0.0.1:{self.envoy.port}", transport=transport, timeout=30
            )
        headers = {"Host": host, **options.pop("headers", {})}
        named = {"sni_hostname": host}
        return self._clients[source].request(
            method, path, headers=headers, extensions=named, **options
        )

    def ask_directly(self, function: str, path: str, **headers: str) -> httpx.Response:
        """Call a function's own address, as anybody can who knows it."""
        host = self.envoy.address(function).removeprefix("https://")
        url = f"http://127.0.0.1:{self.envoy.guarded_port}{path}"
        return httpx.get(url, headers={"Host": host, **headers}, timeout=30, trust_env=False)

    def token(self, function: str) -> str:
        """Return Google's token for a function's service."""
        return self.envoy.token(self.envoy.address(function))

    def output(self) -> str:
        """Return all that the functions have written."""
        return "".join(each.process.output.read_text() for each in self.functions.values())

    def stop(self) -> None:
        for client in self._clients.values():
            client.close()
        self.envoy.process.kill()
        for function in self.functions.values():
            function.process.kill()
