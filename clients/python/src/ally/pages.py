"""Pages of lists, and the walk from one to the next: at any time one page is held, not the list."""

from collections.abc import AsyncIterator, Generator, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ally.requests import Batch, Request

if TYPE_CHECKING:
    from ally.sending import AsyncSender, Sender

T = TypeVar("T")


class _Cut(Generic[T]):
    """Some objects of a list, in its order: `data`. `has_more` is what the API said of it."""

    def __init__(self, request: Request[T], batch: Batch[T]) -> None:
        self.data, self.has_more = batch
        self._request = request
        self._backwards = request.params.get("ending_before") is not None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.data)} of {self._request.template})"

    @property
    def has_next(self) -> bool:
        """Whether there are objects after this page: it came from there, or the API says so."""
        return bool(self.data) and (self._backwards or self.has_more)

    @property
    def has_previous(self) -> bool:
        """Whether there are objects before this page."""
        came_from = self._request.params.get("starting_after") is not None
        return bool(self.data) and (self.has_more if self._backwards else came_from)

    def _following(self) -> Request[T]:
        return self._request.asking(starting_after=_id(self.data[-1]), ending_before=None)

    def _preceding(self) -> Request[T]:
        return self._request.asking(ending_before=_id(self.data[0]), starting_after=None)


class Page(_Cut[T]):
    """A page of a list. `data` is this page; iterating goes on through all that follow.

    Objects that are made meanwhile make the walk neither skip nor repeat another.
    """

    def __init__(self, sender: "Sender", request: Request[T], batch: Batch[T]) -> None:
        super().__init__(request, batch)
        self._sender = sender

    def next_page(self) -> "Page[T] | None":
        """Fetch the page after this one; None where there is none."""
        return self._fetch(self._following()) if self.has_next else None

    def previous_page(self) -> "Page[T] | None":
        """Fetch the page before this one; None where there is none."""
        return self._fetch(self._preceding()) if self.has_previous else None

    def __iter__(self) -> Iterator[T]:
        """Walk through this page and all that follow."""
        page: Page[T] | None = self
        while page is not None:
            yield from page.data
            page = page.next_page()

    def backwards(self) -> Iterator[T]:
        """Walk through this page from its end, and on through all that precede."""
        page: Page[T] | None = self
        while page is not None:
            yield from reversed(page.data)
            page = page.previous_page()

    def _fetch(self, request: Request[T]) -> "Page[T]":
        return Page(self._sender, request, self._sender.batch(request))


class AsyncPage(_Cut[T]):
    """A page of a list, for `async for`: as Page is."""

    def __init__(self, sender: "AsyncSender", request: Request[T], batch: Batch[T]) -> None:
        super().__init__(request, batch)
        self._sender = sender

    async def next_page(self) -> "AsyncPage[T] | None":
        """Fetch the page after this one; None where there is none."""
        return await self._fetch(self._following()) if self.has_next else None

    async def previous_page(self) -> "AsyncPage[T] | None":
        """Fetch the page before this one; None where there is none."""
        return await self._fetch(self._preceding()) if self.has_previous else None

    async def __aiter__(self) -> AsyncIterator[T]:
        """Walk through this page and all that follow."""
        page: AsyncPage[T] | None = self
        while page is not None:
            for each in page.data:
                yield each
            page = await page.next_page()

    async def backwards(self) -> AsyncIterator[T]:
        """Walk through this page from its end, and on through all that precede."""
        page: AsyncPage[T] | None = self
        while page is not None:
            for each in reversed(page.data):
                yield each
            page = await page.previous_page()

    async def _fetch(self, request: Request[T]) -> "AsyncPage[T]":
        return AsyncPage(self._sender, request, await self._sender.batch(request))


class AsyncPages(Generic[T]):
    """A list that has not been asked for yet: `await` it for its page, or `async for` all of it."""

    def __init__(self, sender: "AsyncSender", request: Request[T]) -> None:
        self._sender = sender
        self._request = request

    async def _first(self) -> AsyncPage[T]:
        return AsyncPage(self._sender, self._request, await self._sender.batch(self._request))

    def __await__(self) -> Generator[Any, None, AsyncPage[T]]:
        return self._first().__await__()

    async def __aiter__(self) -> AsyncIterator[T]:
        """Walk through the page and all that follow."""
        async for each in await self:
            yield each


def _id(each: Any) -> str:
    found: str = each.id
    return found
