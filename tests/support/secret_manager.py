"""A stand-in for Secret Manager, which has no emulator: a loopback server for the real client."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.cloud.secretmanager_v1 import types

SERVICE = "google.cloud.secretmanager.v1.SecretManagerService"


class SecretManager:
    """Keeps secrets in memory; fails, dawdles and forgets when it is told to."""

    def __init__(self) -> None:
        self.versions: dict[str, list[bytes]] = {}
        self.reads = 0
        self._woken = threading.Event()
        self.recover()
        self._server = grpc.server(ThreadPoolExecutor(4))
        handlers = {
            "AccessSecretVersion": _unary(
                self._access, types.AccessSecretVersionRequest, types.AccessSecretVersionResponse
            ),
            "CreateSecret": _unary(self._create, types.CreateSecretRequest, types.Secret),
            "AddSecretVersion": _unary(
                self._add, types.AddSecretVersionRequest, types.SecretVersion
            ),
        }
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, handlers),)
        )
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def recover(self) -> None:
        """Work as it should from now on."""
        self.failing: grpc.StatusCode | None = None
        """What every access to a secret is answered with."""
        self.delay = 0.0
        """Seconds before an access is answered."""
        self.unaware = False
        """Whether it says of every secret that there is none, as of one that is not yet to be seen
        everywhere."""
        self._woken.set()

    def dawdle(self, seconds: float) -> None:
        """Answer each access after some seconds from now on."""
        self._woken.clear()
        self.delay = seconds

    def stop(self) -> None:
        self.recover()
        self._server.stop(None).wait()

    def _access(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.reads += 1
        if self.delay:
            self._woken.wait(self.delay)
        if self.failing is not None:
            context.abort(self.failing, "told to fail")
        secret, _, version = request.name.rpartition("/versions/")
        if self.unaware or not self.versions.get(secret):
            context.abort(grpc.StatusCode.NOT_FOUND, "no such secret")
        payload = types.SecretPayload(data=self.versions[secret][int(version) - 1])
        return types.AccessSecretVersionResponse(name=request.name, payload=payload)

    def _create(self, request: Any, context: grpc.ServicerContext) -> Any:
        name = f"{request.parent}/secrets/{request.secret_id}"
        if name in self.versions:
            context.abort(grpc.StatusCode.ALREADY_EXISTS, "exists")
        self.versions[name] = []
        return types.Secret(name=name, replication=request.secret.replication)

    def _add(self, request: Any, context: grpc.ServicerContext) -> Any:
        if request.parent not in self.versions:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such secret")
        self.versions[request.parent].append(request.payload.data)
        return types.SecretVersion(name=f"{request.parent}/versions/latest")


def _unary(behaviour: Any, request: Any, response: Any) -> Any:
    return grpc.unary_unary_rpc_method_handler(
        behaviour,
        request_deserializer=request.deserialize,
        response_serializer=response.serialize,
    )
