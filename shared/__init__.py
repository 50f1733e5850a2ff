"""The few words that a resource is written with."""

# ruff: noqa: E402 - a start begins before there is anything to import
from shared import starting

starting.begin()

from shared.api import Api, Call, Request, Response
from shared.models import Changes, Deleted, Line
from shared.pages import ListQuery, Page
from shared.store import Ref

__all__ = [
    "Api",
    "Call",
    "Changes",
    "Deleted",
    "Line",
    "ListQuery",
    "Page",
    "Ref",
    "Request",
    "Response",
]
