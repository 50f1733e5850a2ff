"""The one way to refuse a request, and the two forms in which the caller is told."""

from collections.abc import Mapping
from typing import Any

from shared.catalogue import CATALOGUE, PLAIN

Json = dict[str, Any]

PROBLEM = "application/problem+json"


class ApiError(Exception):
    """The one way to refuse a request: a code of the catalogue and the facts of this case.

    `param` names the parameter in bracket form, `facts` fill the code's sentences, `headers` join
    those of the answer. `problems` are all that is wrong, where that is more than one thing. The
    fact `plain` is what people read of it on a page.
    """

    def __init__(
        self,
        code: str,
        *,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
        **facts: object,
    ) -> None:
        super().__init__(code)
        self.entry = CATALOGUE[code]
        self.code = code
        self.param = param
        self.problems: list[ApiError] = []
        self.headers = headers or {}
        self.status = self.entry.status
        self.facts = facts

    @property
    def errors(self) -> list[Json]:
        """Return what each member of `errors` holds."""
        return [problem.describe() for problem in self.problems]

    def plain(self, **facts: object) -> str:
        """Return what people read of it beside a field, which need not be named, or on a page."""
        facts = {**self.facts, **facts}
        told = str(facts.get("plain") or PLAIN.get(self.code, "").format(**facts))
        if not told:
            told = self.entry.message.format(**facts)
            told = told.removeprefix(f"{facts['name']} ") if "name" in facts else told
        return told[:1].upper() + told[1:]

    def describe(self, **facts: object) -> Json:
        """Return code, message, param and fix: what one member of `errors` holds."""
        facts = {**self.facts, **facts}
        described = {
            "code": self.code,
            "message": self.entry.message.format(**facts),
            "param": self.param,
            "fix": self.entry.fix.format(**facts),
        }
        return {name: value for name, value in described.items() if value is not None}


def invalid(problems: list[ApiError]) -> ApiError:
    """Make one refusal of all the wrong parameters: the first leads, `errors` has them all."""
    first = problems[0]
    whole = ApiError(first.code, param=first.param)
    whole.facts = first.facts
    whole.problems = problems
    return whole


def envelope(
    error: ApiError, request_id: str, support: str, url: str, *, logged: bool = False
) -> Json:
    """Write a refusal as every answer that is not 2xx carries it.

    `url` is where this deployment is reached; without one there is no `doc_url`. `logged` says that
    the request will be in the log of the caller's organisation (GET /v1/requests).
    """
    body = {"type": error.entry.type, **error.describe(support=support, request_id=request_id)}
    if error.problems:
        body["errors"] = error.errors
    if url:
        body["doc_url"] = url + error.entry.page
        if logged:
            body["request_log_url"] = f"{url}/v1/requests/{request_id}"
    return {"error": {**body, "request_id": request_id}}


def problem(written: Json, status: int) -> Json:
    """Write an envelope as problem details (RFC 9457), for who accepts application/problem+json.

    The standard's own `type` is the documentation's page, so that of the error is `error_type`; a
    title is the same for all cases of a code.
    """
    facts = dict(written["error"])
    return {
        "type": facts.pop("doc_url", "about:blank"),
        "title": facts["code"].replace("_", " ").capitalize(),
        "status": status,
        "detail": facts.pop("message"),
        "error_type": facts.pop("type"),
        **facts,
    }
