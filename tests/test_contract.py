"""Schemathesis, with all its checks, over every operation of a running server.

`make test` asks for few cases, `make check-contract` for many. What a document cannot say is told
in tests/support/contract.py.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from functions.openapi import FOLDER
from shared.provision import connect_tenant
from tests.conftest import environment_of
from tests.support.document import DOCUMENT
from tests.support.processes import ROOT
from tests.support.serving import Backing, Partner, Server

EXAMPLES = int(os.environ.get("ALLY_CONTRACT", "5"))
"""Cases of each operation in each phase that draws them at random."""
LEAST = int(os.environ.get("ALLY_CONTRACT_LEAST", "0"))
"""Cases that there must be in all, beside those that EXAMPLES asks for."""
PHASES = os.environ.get("ALLY_CONTRACT_PHASES", "examples,fuzzing,stateful")
SEED = os.environ.get("ALLY_CONTRACT_SEED", "20261122")
ACCEPTABLE = ["2xx", "402", "403", "404", "409"]
"""What fits the document works, or the world refuses it: without a place, a task or an object."""


@pytest.fixture(scope="module", params=["local"])
def administrator(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Partner]:
    """A partner with a key for everything, on a server of its own."""
    folder = tmp_path_factory.mktemp("contract")
    backing = Backing(environment_of(request, folder))
    server = Server(backing, folder)
    partner = backing.partner(server).administrator()
    tenant = "contract-7qzpx"
    backing.run(lambda service: connect_tenant(service, "test", partner.organisation.id, tenant))
    yield partner
    server.stop()
    backing.close()


@pytest.mark.timeout(3600)
def test_every_operation_keeps_its_word(administrator: Partner, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    configuration = tmp_path / "schemathesis.toml"
    configuration.write_text(
        f"[checks]\npositive_data_acceptance.expected-statuses = {json.dumps(ACCEPTABLE)}\n"
    )
    server = administrator.server
    ran = subprocess.run(
        [
            *(str(Path(sys.executable).parent / "schemathesis"), "--config-file"),
            *(str(configuration), "run", str(FOLDER / "openapi.json")),
            *("--url", server.url, "--tls-verify", str(server.certificate)),
            *("--header", f"Authorization: {administrator.key}", "--checks", "all"),
            *("--phases", PHASES, "--max-examples", str(EXAMPLES), "--seed", SEED),
            *("--suppress-health-check", "all", "--no-color"),
            *("--report", "json", "--report-json-path", str(report)),
        ],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "SCHEMATHESIS_HOOKS": "tests.support.contract",
            "ALLY_CONTRACT_KEY": administrator.api_key.id,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr[-5_000:]
    told = json.loads(report.read_text())
    operations = sum(map(len, DOCUMENT["paths"].values()))
    assert told["complete"]
    assert told["operations"]["tested"] == told["operations"]["total"] == operations, told[
        "operations"
    ]
    assert told["warnings"]["missing_auth"] == []
    cases = told["test_cases"]["generated"]
    assert cases >= max(LEAST, operations * EXAMPLES)
    print(
        f"\n{cases} cases over {operations} operations, every check, links included:"
        f" {told['test_cases']['with_failures']} failures."
    )
