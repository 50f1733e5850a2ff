"""What Google remembers, and how it refuses."""

import copy
import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tests.support.google_cloud.wire import Answer, Json

REASONS = {
    400: "INVALID_ARGUMENT",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    412: "CONDITION_NOT_MET",
    429: "RESOURCE_EXHAUSTED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
}
DEFAULT_SERVICES = ("cloudapis", "cloudtrace", "logging", "monitoring", "serviceusage", "storage")
"""What is enabled in a new project, of what matters here."""


class Refusal(Exception):  # it is Google's answer
    """Google says no."""

    def __init__(self, status: int, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.reason = reason or REASONS[status]

    @property
    def answer(self) -> Answer:
        """The envelope of an error, with what the older APIs put into it as well."""
        old = {"message": self.message, "domain": "global", "reason": self.reason}
        error = {"code": self.status, "message": self.message, "status": self.reason}
        return Answer({"error": {**error, "errors": [old]}}, self.status)


class UnknownCall(Exception):  # it is not the caller's error
    """Something was asked that this stand-in does not know."""


@dataclass
class Project:
    """A project, and what Google enables in it from the start."""

    name: str
    number: str
    services: set[str] = field(default_factory=lambda: {*DEFAULT_SERVICES})
    billing: str = "billingAccounts/000000-111111-222222"


class State:
    """Projects, and all that is in them."""

    def __init__(self, projects: dict[str, str]) -> None:
        self.projects = {name: Project(name, number) for name, number in projects.items()}
        self.resources: dict[str, Json] = {}
        """By service and name: `firestore/projects/ally/databases/test`."""
        self.policies: dict[str, Json] = {}
        """Who may do what with a resource, by the same names."""
        self.operations: dict[str, Json] = {}
        """What takes its time, by its name."""
        self.unripe: dict[str, Json] = {}
        """What a resource that is still being made becomes, once that was waited for or seen."""
        self.payloads: dict[str, bytes] = {}
        """What versions of secrets and objects in buckets hold, by their names."""
        self.agents: set[str] = set()
        """The accounts that Google's services act as in projects, of those that there are yet."""
        self.images: set[str] = set()
        """The images that builds have left."""
        self.broken: set[str] = set()
        """The services of Cloud Run whose next revisions are not to start."""
        self.entries: dict[str, list[Json]] = {}
        """What was logged, by the bucket that keeps it."""
        self._count = 0

    def next(self) -> int:
        """Return a number that was not there before."""
        self._count += 1
        return self._count

    def fresh(self) -> str:
        """Return an id of 20 characters that was not there before."""
        return hashlib.sha256(str(self.next()).encode()).hexdigest()[:20]

    def now(self) -> str:
        """Return the time: a second later each time."""
        moment = datetime(2026, 11, 22, tzinfo=UTC) + timedelta(seconds=self.next())
        return moment.strftime("%Y-%m-%dT%H:%M:%S.000000Z")

    def project(self, name: str) -> Project:
        """Find a project by its id or its number."""
        for project in self.projects.values():
            if name in {project.name, project.number}:
                return project
        raise Refusal(403, f"Permission denied on resource project {name}.")

    def find(self, service: str, name: str) -> Json:
        """Return a resource that must be there."""
        found = self.resources.get(f"{service}/{name}")
        if found is None:
            raise Refusal(404, f"Resource '{name}' was not found.")
        return found

    def see(self, key: str) -> Json:
        """Return a resource as it is shown now. The next time it is ready."""
        shown = copy.deepcopy(self.resources[key])
        self.ripen(key)
        return shown

    def ripen(self, key: str) -> None:
        self.resources[key].update(self.unripe.pop(key, {}))

    def within(self, service: str, collection: str) -> dict[str, Json]:
        """Return the resources that lie directly in a collection. `-` stands for any segment."""
        wanted = f"{service}/{collection}".split("/")
        found = {}
        for key, resource in self.resources.items():
            parts = key.split("/")
            if len(parts) == len(wanted) + 1 and all(
                asked in {"-", part} for asked, part in zip(wanted, parts, strict=False)
            ):
                found[key] = resource
        return found


def kept(sent: Json) -> Json:
    """Return what Google shows of what was sent: it leaves out what a field is by default."""
    if isinstance(sent, list):
        return [kept(value) for value in sent]
    if not isinstance(sent, dict):
        return sent
    return {
        name: kept(value)
        for name, value in sent.items()
        if value not in (False, 0, "", "ANY_API", None) and not str(value).endswith("_UNSPECIFIED")
    }
