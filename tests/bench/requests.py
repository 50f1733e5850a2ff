"""What a request costs a function that serves: CPU time of its process, on the local backend."""

import json
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from shared import ids
from shared.backends import Key, Put
from shared.patients import Patient
from shared.provision import create_organisation
from shared.service import Service
from tests.bench.functions import Function, a_patient, request_bytes
from tests.bench.measure import Pair, Spend
from tests.support.serving import ADDRESS, PATIENT, Backing

BATCH = 5_000
DEPTH = 100_000
PAGE = 10


@dataclass(frozen=True, slots=True)
class Partner:
    """An organisation's key, and its patients' ids, newest first."""

    key: str
    patients: list[str]


def local_environment(folder: Path) -> dict[str, str]:
    """Return the settings of a local backend in a folder."""
    return {
        "ALLY_BACKEND": "local",
        "ALLY_STATE": str(folder),
        "ALLY_LOG": str(folder / "requests.jsonl"),
        "ALLY_RATE_TEST": "1000000000",
        "ALLY_RATE_END_USER": "1000000000",
    }


def a_partner(environment: Mapping[str, str], patients: int = 1) -> Partner:
    """Make an organisation that has so many patients."""

    async def make(service: Service) -> Partner:
        organisation, key = await create_organisation(service, "Bench")
        pattern = a_patient()
        moment = service.now() - timedelta(milliseconds=patients)
        made = [
            ids.mint(Patient.prefix, moment + timedelta(milliseconds=number))
            for number in range(patients)
        ]
        # Past the store, in large commits: it is what is measured afterwards that counts.
        data = pattern.dump()
        for begin in range(0, patients, BATCH):
            keys = [
                Key("test", organisation.id, Patient.collection, each)
                for each in made[begin : begin + BATCH]
            ]
            puts = [Put(key, {**data, "id": key.id}) for key in keys]
            await service.storage.commit(puts, keys[0])
        return Partner(str(key.secret), made[::-1])

    with closing(Backing(environment)) as backing:
        return backing.run(make)


def serving(function: Function, request: bytes) -> Spend:
    """Return the work of answering a request."""
    return lambda count: function.serve(request, count)


@contextmanager
def a_get(folder: Path) -> Iterator[Pair]:
    """Get a patient, and send the same request to an empty function."""
    environment = local_environment(folder)
    partner = a_partner(environment)
    request = request_bytes("GET", f"/v1/patients/{partner.patients[0]}", partner.key)
    with (
        closing(Function.patients(folder, environment)) as ours,
        closing(Function.empty(folder, environment)) as empty,
    ):
        yield serving(ours, request), serving(empty, request)


@contextmanager
def a_list(folder: Path) -> Iterator[Pair]:
    """List ten patients, and get one."""
    environment = local_environment(folder)
    partner = a_partner(environment, 2 * PAGE)
    listing = request_bytes("GET", f"/v1/patients?limit={PAGE}", partner.key)
    getting = request_bytes("GET", f"/v1/patients/{partner.patients[0]}", partner.key)
    with closing(Function.patients(folder, environment)) as ours:
        assert len(json.loads(ours.answer(listing))["data"]) == PAGE
        yield serving(ours, listing), serving(ours, getting)


@contextmanager
def a_create(folder: Path) -> Iterator[Pair]:
    """Create a patient, and get one."""
    environment = local_environment(folder)
    partner = a_partner(environment)
    body = json.dumps({**PATIENT, "address": ADDRESS}).encode()
    creating = request_bytes("POST", "/v1/patients", partner.key, body)
    getting = request_bytes("GET", f"/v1/patients/{partner.patients[0]}", partner.key)
    with closing(Function.patients(folder, environment)) as ours:
        yield serving(ours, creating), serving(ours, getting)


@contextmanager
def a_deep_page(folder: Path) -> Iterator[Pair]:
    """List the patients after a hundred thousand others, and the first ones."""
    environment = local_environment(folder)
    partner = a_partner(environment, DEPTH + 2 * PAGE)
    path = f"/v1/patients?limit={PAGE}"
    cursor = f"&starting_after={partner.patients[DEPTH - 1]}"
    with closing(Function.patients(folder, environment)) as ours:
        spends = []
        for begin, query in ((DEPTH, cursor), (0, "")):
            request = request_bytes("GET", path + query, partner.key)
            listed = json.loads(ours.answer(request))["data"]
            assert [each["id"] for each in listed] == partner.patients[begin : begin + PAGE]
            spends.append(serving(ours, request))
        deep, first = spends
        yield deep, first
