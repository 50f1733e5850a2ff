"""The few words that a resource is written with."""

# ruff: noqa: E402 - a start begins before there is anything to import
from shared import starting

starting.begin()

from shared.api import Api, Call, Request, Response
from shared.fields import Line
from shared.models import Changes, Deleted
from shared.pages import ListQuery, Page, PageQuery
from shared.routes import Content
from shared.store import Ref

__all__ = [
    "Api",
    "Call",
    "Changes",
    "Content",
    "Deleted",
    "Line",
    "ListQuery",
    "Page",
    "PageQuery",
    "Ref",
    "Request",
    "Response",
]
