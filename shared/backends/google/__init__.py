"""The google backend: Firestore and Secret Manager. Only here, and in infra/, is a vendor named."""

import contextlib
from collections.abc import Iterator

from google.auth.exceptions import DefaultCredentialsError

from shared.settings import SettingError


@contextlib.contextmanager
def credentials() -> Iterator[None]:
    """Say in one sentence that a client found no credentials."""
    try:
        yield
    except DefaultCredentialsError as error:
        raise SettingError(
            "No credentials for Google Cloud were found; run"
            " `gcloud auth application-default login`, or set ALLY_BACKEND to local."
        ) from error
