"""Secrets in Secret Manager, each a secret whose newest version is its value."""

import grpc.aio
from google.api_core import exceptions
from google.cloud.secretmanager_v1 import SecretManagerServiceAsyncClient, types
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
    SecretManagerServiceGrpcAsyncIOTransport,
)

from shared.backends import UnavailableError
from shared.backends.google import credentials

LOCATION = "europe-west2"


class GoogleSecrets:
    """Secrets of one project, replicated nowhere but to London.

    `address` names a loopback server instead of Google's, for tests.
    """

    def __init__(self, project: str, *, call_timeout: float, address: str = "") -> None:
        self._project = f"projects/{project}"
        self._timeout = call_timeout
        transport = None
        if address:
            transport = SecretManagerServiceGrpcAsyncIOTransport(
                channel=grpc.aio.insecure_channel(address)
            )
        with credentials():
            self._client = SecretManagerServiceAsyncClient(transport=transport)

    async def read(self, name: str) -> bytes | None:
        """Return a secret's newest value; None where there is none."""
        try:
            answer = await self._client.access_secret_version(
                name=f"{self._project}/secrets/{name}/versions/latest",
                timeout=self._timeout,
                retry=None,
            )
        except exceptions.NotFound:
            return None
        except (exceptions.GoogleAPICallError, exceptions.RetryError) as error:
            raise UnavailableError(type(error).__name__) from None
        value: bytes = answer.payload.data
        return value

    async def write(self, name: str, value: bytes) -> None:
        """Store a new version, and the secret itself where it is new."""
        replication = types.Replication(
            user_managed=types.Replication.UserManaged(
                replicas=[types.Replication.UserManaged.Replica(location=LOCATION)]
            )
        )
        try:
            await self._client.create_secret(
                parent=self._project,
                secret_id=name,
                secret=types.Secret(replication=replication),
                timeout=self._timeout,
                retry=None,
            )
        except exceptions.AlreadyExists:
            pass
        except exceptions.GoogleAPICallError as error:
            raise UnavailableError(type(error).__name__) from None
        try:
            await self._client.add_secret_version(
                parent=f"{self._project}/secrets/{name}",
                payload=types.SecretPayload(data=value),
                timeout=self._timeout,
                retry=None,
            )
        except exceptions.GoogleAPICallError as error:
            raise UnavailableError(type(error).__name__) from None
