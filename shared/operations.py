"""Operations: what follows from a route for the document that describes it."""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from shared.models import Model, Resource
from shared.pages import ListQuery
from shared.routes import PUBLIC, Route
from shared.schemas import kind_of, pascal, prose
from shared.showing import MOST_LEVELS

_KEYED = (
    *("https_required", "body_malformed", "version_unknown"),
    *("parameter_missing", "parameter_invalid", "parameter_unknown"),
    *("key_missing", "key_malformed", "key_invalid", "key_publishable", "key_expired"),
    *("key_revoked", "address_not_allowed", "organisation_not_activated", "permission_missing"),
    *("token_invalid", "token_expired", "token_revoked", "tenant_unknown"),
    *("origin_not_allowed", "end_users_not_served"),
    *("body_too_large", "rate_limited", "authentication_busy"),
    *("internal_error", "temporarily_unavailable"),
)
"""What every operation that takes a key may be refused with."""
_PUBLISHED = ("https_required", "internal_error", "temporarily_unavailable")


@dataclass(frozen=True, slots=True)
class Operation:
    """A route as the document has it."""

    route: Route

    @property
    def public(self) -> bool:
        """Whether it takes no key."""
        return self.route.permission == PUBLIC

    @property
    def placeholders(self) -> list[str]:
        """What the path names: objects, nearly always."""
        return re.findall(r"\{(\w+)\}", self.route.template)

    @property
    def id(self) -> str:
        """A good name for the method of a client: createPatient, listTasks, cancelAppointment.

        A handler with two words is named by them; one with a single word by it and by the kind of
        object that the route is of.
        """
        route = self.route
        name = route.handler.__name__
        if "_" not in name:
            segment = route.template.split("/")[2]
            one = self.placeholders or [kind_of(route.shows)]
            name = f"{'list' if name == 'index' else name}_{segment if route.listed else one[-1]}"
        if route.method == "PATCH":
            name = name.replace("update_", "patch_", 1)
        words = pascal(name)
        return words[:1].lower() + words[1:]

    @property
    def group(self) -> tuple[str, str]:
        """The name of its function's routes and what they are about, as that says of itself."""
        function = sys.modules[self.route.handler.__module__]
        name, _, about = str(function.__doc__).partition(":")
        about = prose(about).strip()
        return name, about[:1].upper() + about[1:]

    def codes(self) -> Iterator[str]:
        """Yield the codes that it may be refused with: those of its nature, and its own."""
        route = self.route
        if self.public:
            yield from _PUBLISHED
            return
        yield from _KEYED
        yield from route.refuses
        if self.placeholders:
            yield "resource_missing"
        if route.end_user:
            yield "end_user_permission_missing"
        if route.method in ("GET", "DELETE"):
            yield "body_unexpected"
        else:
            yield from ("body_is_json", "content_type_unsupported")
        if route.writes:
            yield from ("idempotency_key_invalid", "idempotency_key_reused")
        if route.permission.endswith(":write") and not route.publishable:
            yield "lock_timeout"
        if "metadata" in route.body.model_fields:
            yield "metadata_nested"
        if issubclass(route.query, ListQuery) and any(
            known.personal for known in route.query.filterable.values()
        ):
            yield "filter_personal"

    def expansions(self) -> Iterator[str]:
        """Yield the paths that its `expand` takes."""
        if self.route.listed:
            yield from _below(self.route.shows, "data.", MOST_LEVELS - 1)
        else:
            yield from _below(self.route.shows, "", MOST_LEVELS)


def _below(model: type[Model], path: str, levels: int) -> Iterator[str]:
    if levels and issubclass(model, Resource):
        for name, expansion in model.expands.items():
            yield f"{path}{name}"
            yield from _below(expansion.model, f"{path}{name}.", levels - 1)
