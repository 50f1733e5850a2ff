"""A portal in the test's own process: its clock can be set, and its storage watched."""

from typing import Any

import httpx

from shared.service import Service
from tests.support.inprocess import APPLICATION, InProcess
from tests.support.serving import Backing, Server


class Instance(Server):
    """An instance of all functions that has heard of nobody yet, for people to visit."""

    def __init__(self, backing: Backing) -> None:
        self.backing = backing
        self.api = InProcess(backing, None)

    def portal(self, name: str) -> str:
        async def read(service: Service) -> str:
            return str(getattr(service.settings, f"{name}_url"))

        return self.backing.run(read)

    def open(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def act(service: Service) -> httpx.Response:
            transport = httpx.ASGITransport(APPLICATION)
            url = service.settings.dashboard_url
            with self.api._served():
                async with httpx.AsyncClient(transport=transport, base_url=url) as client:
                    return await client.request(method, path, **options)

        return self.backing.run(act)
