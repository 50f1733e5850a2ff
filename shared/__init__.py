"""The few words that a resource is written with."""

from shared.api import Api, Call, Request, Response
from shared.errors import ApiError
from shared.models import Changes, Deleted, Metadata, MetadataChanges, Model, Resource
from shared.pages import ListQuery, Page

__all__ = [
    "Api",
    "ApiError",
    "Call",
    "Changes",
    "Deleted",
    "ListQuery",
    "Metadata",
    "MetadataChanges",
    "Model",
    "Page",
    "Request",
    "Resource",
    "Response",
]
