"""Members of staff, as their pages let them in on each backend, and what waits for them."""

import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from shared.backends import OURS, Key, Put
from shared.jobs import FailedJob, Job
from shared.settings import Space
from shared.staff import local_key
from tests.support.addresses import ADDRESSES
from tests.support.id_tokens import proxy
from tests.support.people import Person
from tests.support.serving import Server

EMAIL = "florence@ally.example"
HEADER = "X-Goog-IAP-JWT-Assertion"


def assertion(key: Any = None, **changes: Any) -> str:
    """Return what Identity-Aware Proxy says of somebody who has signed in."""
    at = int(time.time())
    said = {
        "iss": "https://cloud.google.com/iap",
        "aud": ADDRESSES["ALLY_IAP_AUDIENCE"],
        "sub": "accounts.google.com:1",
        "email": EMAIL,
        "iat": at,
        "exp": at + 600,
        **changes,
    }
    claims = {name: value for name, value in said.items() if value is not None}
    return proxy().sign(claims, key=key)


def staff(server: Server) -> Person:
    """Return a member of staff who has been let in."""
    person = Person(server, "operations")
    if server.backing.environment["ALLY_BACKEND"] == "google":
        person.headers[HEADER] = assertion()
    else:
        state = Path(server.backing.environment["ALLY_STATE"])
        person.submit(person.get("/sign-in"), key=local_key(state))
    return person


def name_of(person: Person) -> str:
    """Return by what name a member of staff is known."""
    return EMAIL if person.headers else "local"


def failed_job(at: datetime, space: Space = "test", organisation: str = "org_a") -> Put:
    """Return what stores a job that failed for good at a moment."""
    job = Job.new(
        at=at,
        after=timedelta(),
        kind="nothing",
        organisation=organisation,
        mode="test",
        payload={},
        requestId="req_a",
    )
    failed = FailedJob.of(job.model_copy(update={"attempts": 7, "error": "Boom"}), at)
    return Put(Key(space, OURS, FailedJob.collection, failed.id), failed.dump())
