"""How a method is written once and serves both clients.

A method of a resource describes its request and sends nothing. Which client the resource belongs to
decides what calling the method does: it returns the object, or something to await. Both are known
to type checkers and editors, parameters included.
"""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from ally.keys import Key
from ally.pages import AsyncPages, Page
from ally.requests import Request
from ally.sending import AsyncSender, Sender

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound="Sender | AsyncSender")


class ResourceOf(Generic[S]):
    """The methods of one kind of object, of a client that sends in one way."""

    def __init__(self, sender: S) -> None:
        self.sender = sender


class _Described(Generic[P, T]):
    """A method that describes a request."""

    def __init__(self, describe: Callable[Concatenate[Any, P], Request[T]]) -> None:
        self.describe = describe
        self.__doc__ = describe.__doc__

    def _bind(self, resource: Any, verb: str) -> Any:
        send = getattr(resource.sender, verb)

        @wraps(self.describe)
        def method(*args: Any, **given: Any) -> Any:
            if "key" in given:
                given["key"] = Key(given["key"])
            request = self.describe(resource, *args, **given)
            del args, given  # so that a traceback with its variables tells nothing of patients
            return send(request)

        return method


class operation(_Described[P, T]):
    """A request that is answered with one object."""

    @overload
    def __get__(self, resource: None, owner: object) -> Self: ...
    @overload
    def __get__(self, resource: ResourceOf[Sender], owner: object) -> Callable[P, T]: ...
    @overload
    def __get__(
        self, resource: ResourceOf[AsyncSender], owner: object
    ) -> Callable[P, Awaitable[T]]: ...
    def __get__(self, resource: Any, owner: object) -> Any:
        return self if resource is None else self._bind(resource, "one")


class listing(_Described[P, T]):
    """A request that is answered with a page of objects."""

    @overload
    def __get__(self, resource: None, owner: object) -> Self: ...
    @overload
    def __get__(self, resource: ResourceOf[Sender], owner: object) -> Callable[P, Page[T]]: ...
    @overload
    def __get__(
        self, resource: ResourceOf[AsyncSender], owner: object
    ) -> Callable[P, AsyncPages[T]]: ...
    def __get__(self, resource: Any, owner: object) -> Any:
        return self if resource is None else self._bind(resource, "page")
