"""A loopback proxy before the Firestore emulator that loses the answers of commits."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from typing import Any, Literal

import grpc
import grpc.aio

SERVICE = "google.firestore.v1.Firestore"
Loss = Literal["refused", "silent", "late"]


class DroppingProxy:
    """Forwards every call but loses two of every n commits: one before, one after its effect.

    `refused`: the caller is told UNAVAILABLE, as when a connection breaks, and its next try may be
    lost as well. `silent`: nothing is said until the caller gives up; the same commit, sent again,
    is then answered, since a caller has not the time to wait for many silences. `late`: the commit
    is held back until the caller has given up and tried again, which is answered ABORTED, as it is
    while another commit holds the locks; only then, `late` seconds after it came, it takes effect.
    """

    def __init__(self, emulator: str, *, nth: int, loss: Loss, late: float) -> None:
        self._emulator = emulator
        self._nth = nth
        self._loss = loss
        self._delay = late
        self.commits = 0
        self._seen: set[bytes] = set()
        self._held: set[bytes] = set()
        self._late: list[asyncio.Task[None]] = []
        self.dropped = 0
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._open())
        self._ready.set()
        self._loop.run_forever()

    async def _open(self) -> None:
        self._channel = grpc.aio.insecure_channel(self._emulator)
        self._server = grpc.aio.server()
        handlers = {
            "BatchGetDocuments": grpc.unary_stream_rpc_method_handler(
                self._streamed("BatchGetDocuments")
            ),
            "RunQuery": grpc.unary_stream_rpc_method_handler(self._streamed("RunQuery")),
            "Commit": grpc.unary_unary_rpc_method_handler(self._commit),
        }
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, handlers),)
        )
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        await self._server.start()

    async def _close(self) -> None:
        await self._server.stop(None)
        await self._channel.close()

    def _streamed(self, method: str) -> Any:
        call = self._channel.unary_stream(f"/{SERVICE}/{method}")

        async def forward(request: bytes, context: Any) -> AsyncIterator[bytes]:
            async for answer in call(request, metadata=_kept(context)):
                yield answer

        return forward

    async def _commit(self, request: bytes, context: Any) -> bytes:
        turn = self._turn(request)
        lost = turn in (0, 1)
        self.dropped += lost
        if request in self._held:
            await context.abort(grpc.StatusCode.ABORTED, "others hold the locks")
        if lost and self._loss == "late":
            self._held.add(request)
            metadata = _kept(context)
            self._late.append(asyncio.create_task(self._forward_late(request, metadata)))
            await asyncio.sleep(60)
        if turn == 0:
            await self._lose(context)
        try:
            answer = await self._forward(request, _kept(context))
        except grpc.aio.AioRpcError as error:
            await context.abort(error.code(), error.details() or "")
        if turn == 1:
            await self._lose(context)
        return answer

    async def _forward(self, request: bytes, metadata: list[tuple[str, str]]) -> bytes:
        answer: bytes = await self._channel.unary_unary(f"/{SERVICE}/Commit")(
            request, metadata=metadata
        )
        return answer

    async def _forward_late(self, request: bytes, metadata: list[tuple[str, str]]) -> None:
        await asyncio.sleep(self._delay)
        with contextlib.suppress(grpc.aio.AioRpcError):
            await self._forward(request, metadata)
        self._held.discard(request)

    def _turn(self, request: bytes) -> int:
        if self._loss != "refused" and request in self._seen:
            return -1
        self._seen.add(request)
        self.commits += 1
        return self.commits % self._nth

    async def _lose(self, context: Any) -> None:
        if self._loss == "silent":
            await asyncio.sleep(60)
        await context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")


def _kept(context: Any) -> list[tuple[str, str]]:
    return [
        (name, value)
        for name, value in context.invocation_metadata()
        if name in ("authorization", "google-cloud-resource-prefix")
    ]
