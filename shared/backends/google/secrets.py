"""Secrets in Secret Manager."""

import grpc.aio
from google.api_core import exceptions
from google.api_core.client_options import ClientOptions
from google.cloud.secretmanager_v1 import SecretManagerServiceAsyncClient, types
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
    SecretManagerServiceGrpcAsyncIOTransport,
)

from shared.backends import ConflictError, UnavailableError
from shared.backends.google import credentials

LOCATION = "europe-west2"
ENDPOINT = f"secretmanager.{LOCATION}.rep.googleapis.com"


class GoogleSecrets:
    """Regional secrets of one project, in London.

    Each has one version, which is read by its number: that alone is strongly consistent. `address`
    names a loopback server instead of Google's, for tests.
    """

    def __init__(self, project: str, *, call_timeout: float, address: str = "") -> None:
        self._parent = f"projects/{project}/locations/{LOCATION}"
        self._timeout = call_timeout
        transport = None
        if address:
            transport = SecretManagerServiceGrpcAsyncIOTransport(
                channel=grpc.aio.insecure_channel(address)
            )
        options = None if address else ClientOptions(api_endpoint=ENDPOINT)
        with credentials():
            self._client = SecretManagerServiceAsyncClient(
                transport=transport, client_options=options
            )

    async def read(self, name: str) -> bytes | None:
        """Return a secret's value; None where there is none."""
        try:
            answer = await self._client.access_secret_version(
                name=f"{self._parent}/secrets/{name}/versions/1",
                timeout=self._timeout,
                retry=None,
            )
        except exceptions.NotFound:
            return None
        except (exceptions.GoogleAPICallError, exceptions.RetryError) as error:
            raise UnavailableError(type(error).__name__) from None
        value: bytes = answer.payload.data
        return value

    async def create(self, name: str, value: bytes) -> None:
        """Store a new secret, or raise ConflictError where the name is taken."""
        try:
            await self._client.create_secret(
                parent=self._parent,
                secret_id=name,
                secret=types.Secret(),
                timeout=self._timeout,
                retry=None,
            )
            await self._client.add_secret_version(
                parent=f"{self._parent}/secrets/{name}",
                payload=types.SecretPayload(data=value),
                timeout=self._timeout,
                retry=None,
            )
        except exceptions.AlreadyExists:
            raise ConflictError(name) from None
        except exceptions.GoogleAPICallError as error:
            raise UnavailableError(type(error).__name__) from None
