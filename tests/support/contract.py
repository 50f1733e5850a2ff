"""What schemathesis needs to know beside the document: the module of hooks that it loads.

A document says the form of data. What has a check digit, or may be called, stands in the formats
here; what two fields may not be together, and a few promises of the contract that a check takes for
a failure, in `before_call`, each with its reason.
"""

import os
import uuid
from typing import Any

import nhs_number
import schemathesis
from hypothesis import strategies as st
from schemathesis.core import NotSet
from schemathesis.core.failures import AcceptedNegativeData

from shared.words import LONGEST
from tests.support.conformity import validator
from tests.support.document import DOCUMENT, resolve

FORM = "application/x-www-form-urlencoded"
OWN_KEY = os.environ["ALLY_CONTRACT_KEY"]
"""The id of the key that calls: without it nothing could be tested any more."""

_TEXT = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=2, max_size=40)


def _numbers(region: Any) -> st.SearchStrategy[str]:
    return st.sampled_from(sorted(nhs_number.generate(for_region=region, quantity=50)))


FORMATS = {
    "line": _TEXT,
    "text": _TEXT,
    "e164": st.integers(0, 999).map(lambda number: f"+447700900{number:03}"),
    "email": st.integers(0, 999).map(lambda number: f"person{number}@example.com"),
    "uk-postcode": st.sampled_from(["SW1A 1AA", "M1 1AE", "sw1a1aa", "KW17 2AA"]),
    "nhs-number": st.sampled_from(["9990000018", "999 000 0026", "9990000034"]),
    "chi-number": _numbers(nhs_number.REGION_SCOTLAND),
    "hsc-number": _numbers(nhs_number.REGION_NORTHERN_IRELAND),
    "moment": st.datetimes().map(lambda moment: moment.strftime("2099-%m-%dT%H:%M:%SZ")),
    "date": st.dates().map(lambda day: day.strftime("1990-%m-%d")),
    "cidr": st.integers(0, 255).map(lambda number: f"203.0.{number}.0/24"),
    "origin": st.integers(0, 999).map(lambda number: f"https://p{number}.example.org"),
    "filter": st.sampled_from(
        ['createdAt>="2026-01-01"', 'createdAt<"2027-01-01" and updatedAt>="2026-01-01"']
    ),
}
for name, strategy in FORMATS.items():
    schemathesis.openapi.format(name, strategy)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Make what fits the document fit the rules that it tells in words."""
    for name, value in case.path_parameters.items():
        if value in (OWN_KEY, "search"):  # what is another path is no id
            case.path_parameters[name] = "another"
    if case.meta is not None and not case.meta.generation.mode.is_positive:
        return
    if "Idempotency-Key" in case.headers:
        # One key for two requests is refused, which is what it is for.
        case.headers["Idempotency-Key"] = str(uuid.uuid4())
    case.query = _without_nulls(case.query)
    if case.path == "/v1/usage" and isinstance(case.query, dict):
        case.query = _answerable(case.query)
    if case.media_type == FORM:
        case.body = _without_nulls(case.body)
    for tree in (case.query, case.body):
        if isinstance(tree, dict):
            _mend(tree)
            if case.method == "GET" or case.path.endswith("/search"):
                _find(tree)


def _answerable(query: dict[str, Any]) -> dict[str, Any]:
    """Leave out what only some metrics, or some times, can be asked for."""
    kept: dict[str, Any] = {
        name: query[name] for name in ("metric", "period", "status") if name in query
    }
    if str(kept.get("metric", "requests")).startswith(("active", "front_end", "booking")):
        kept.pop("status", None)
        kept.pop("period", None)
    return kept


def _mend(tree: dict[str, Any]) -> None:
    if tree.get("starting_after"):
        tree.pop("ending_before", None)  # a page has one cursor
    if tree.get("idempotencyKey"):
        tree.pop("statusClass", None)  # of the two a list of requests takes one
    if "type" in tree:
        tree["type"] = "secret"  # a publishable key takes other fields: it has origins, no scopes
    tree.pop("origins", None)
    if "event" in tree:
        tree.pop("key", None)  # which is for pages, and they send no header
        took = tree.pop("milliseconds", None)
        if str(tree["event"]).startswith("timing."):
            tree["milliseconds"] = took or 0
    for day in ("fromDate", "toDate"):
        tree.pop(day, None)  # windows are offered from today on, whatever day that is


def _find(tree: dict[str, Any]) -> None:
    if tree.get("name"):
        tree["name"] = tree["name"][:LONGEST]  # a name is found by so many of its letters


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """Keep a failure, unless what was accepted is right: an empty text unsets, as null does."""
    if not isinstance(failure, AcceptedNegativeData):
        return True
    return not (_fits_query(case) and _fits_body(case))


def _fits_query(case: Any) -> bool:
    # A list of one empty text is written as an empty list is.
    query = {
        name: [] if value in ([""], [None]) else value for name, value in (case.query or {}).items()
    }
    sent = _without_nulls(query)
    known = {
        parameter["name"]: parameter["schema"]
        for parameter in (
            resolve(DOCUMENT, each) for each in case.operation.definition.raw.get("parameters", ())
        )
        if parameter["in"] == "query"
    }
    return sent.keys() <= known.keys() and all(
        validator(known[name]).is_valid(value) for name, value in sent.items()
    )


def _fits_body(case: Any) -> bool:
    described = case.operation.definition.raw.get("requestBody")
    if described is None or isinstance(case.body, NotSet):
        return True
    schema = described["content"][case.media_type]["schema"]
    return validator(schema).is_valid(_without_nulls(case.body))


def _without_nulls(value: Any) -> Any:
    """Leave out what is null: a form and a query have no word for it but leaving out, or empty."""
    if isinstance(value, dict):
        return {
            name: _without_nulls(member)
            for name, member in value.items()
            if member is not None and member != ""
        }
    if isinstance(value, list):
        return [_without_nulls(member) for member in value]
    return value
