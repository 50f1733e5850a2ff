"""Which version of this package speaks which version of the API."""

VERSION = "0.1.0"
API_VERSION = "2026-11-22"
"""The `Ally-Version` that this package was written for, and asks for."""
