"""The queue in Cloud Tasks: each ticket is a task, by which the function `worker` does a job."""

import asyncio
import random
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import orjson

from shared import clock
from shared.backends import RejectedError, Ticket, UnavailableError
from shared.backends.google import credentials

if TYPE_CHECKING:
    from google.cloud.tasks_v2 import CloudTasksAsyncClient

TIMEOUT = 0.9
"""Seconds within which a task is made: an answer waits no longer than one."""
ONE_TRY = 0.4
"""Seconds that one call may take of these, so that there is time for another."""
FURTHEST = timedelta(days=29)
"""How far ahead a task may be (Cloud Tasks takes 30 days). The sweep finds what is further."""


class CloudTasks:
    """Tasks of one queue that ask a worker in the name of a service account.

    A task is named after its ticket, so making it again does not make two. `address` names a
    loopback server instead of Google's, for tests.
    """

    def __init__(self, queue: str, *, worker: str, account: str, address: str = "") -> None:
        self._queue = queue
        self._worker = worker
        self._account = account
        self._address = address
        self._opened: CloudTasksAsyncClient | None = None

    async def enqueue(self, ticket: Ticket) -> None:
        """Make the task of a ticket, unless it has been made. Raises BackendError."""
        from google.api_core import exceptions
        from google.cloud.tasks_v2 import types

        if ticket.at > clock.now() + FURTHEST:
            return
        body = orjson.dumps({"space": ticket.space, "id": ticket.job})
        task = types.Task(
            name=f"{self._queue}/tasks/{ticket.job.partition('_')[2]}-{ticket.attempts}",
            schedule_time=ticket.at,
            http_request=types.HttpRequest(
                http_method=types.HttpMethod.POST,
                url=f"{self._worker}/worker/jobs",
                headers={"Content-Type": "application/json"},
                body=body,
                oidc_token=types.OidcToken(
                    service_account_email=self._account, audience=self._worker
                ),
            ),
        )
        client = self._client()
        end = time.monotonic() + TIMEOUT
        while (seconds := min(end - time.monotonic(), ONE_TRY)) > 0:
            try:
                await client.create_task(parent=self._queue, task=task, timeout=seconds, retry=None)
            except exceptions.AlreadyExists:
                return
            except (exceptions.ServerError, exceptions.RetryError):  # nobody knows: ask again
                await asyncio.sleep(random.uniform(0.02, 0.1))  # noqa: S311 - jitter is no secret
            except exceptions.GoogleAPICallError as error:
                raise RejectedError(type(error).__name__) from None
            else:
                return
        raise UnavailableError("a task could not be made in time")

    async def close(self) -> None:
        """Close the channel."""
        if self._opened is not None:
            await self._opened.transport.close()  # type: ignore[no-untyped-call]  # Google's own

    def _client(self) -> "CloudTasksAsyncClient":
        """Return the client, made when it is first needed: few requests have jobs."""
        if self._opened is None:
            import grpc.aio
            from google.cloud.tasks_v2 import CloudTasksAsyncClient
            from google.cloud.tasks_v2.services.cloud_tasks.transports import (
                CloudTasksGrpcAsyncIOTransport,
            )

            transport = None
            if self._address:
                channel = grpc.aio.insecure_channel(self._address)
                transport = CloudTasksGrpcAsyncIOTransport(channel=channel)
            with credentials():
                self._opened = CloudTasksAsyncClient(transport=transport)
        return self._opened
