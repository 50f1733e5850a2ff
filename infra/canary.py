"""Whether the address of a request stays in some log: `python -m infra.canary staging` asks.

Calls of the API and of pages carry a fresh random word in their paths, queries and headers. Once
our own lines of these calls are there, so that it is sure that logs arrive, the word is looked for
in every log bucket.
"""

import argparse
import json
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from infra.gcloud import GcloudError, gcloud
from infra.values import environments, values

PLACES = ("path", "query", "header")
CALLS = (
    ("api", "GET", "/v1/{path}"),
    ("api", "POST", "/v1/end_users/{path}/revoke"),
    ("dashboard", "GET", "/{path}"),
)
"""What is called, by its host: addresses that do not exist, and one that is made of somebody's id.
"""
LOOKS = 30
"""How often our own line is looked for: lines are there within seconds, at times minutes."""
PAUSE, SETTLE = 10, 60
"""Seconds between two looks, and for the platform's own lines to follow ours."""


class CanaryError(Exception):
    """A word was found, or nothing can be said; the message tells which."""


class Sent(NamedTuple):
    """A request with the word in all its places."""

    method: str
    url: str
    headers: dict[str, str]


Send = Callable[[Sent], str]
"""Sends a request and returns the `Request-Id` of its answer, or nothing where it has none."""


def look(
    project: str,
    hosts: Mapping[str, str],
    send: Send,
    sleep: Callable[[float], None],
    *,
    looks: int = LOOKS,
) -> Iterator[str]:
    """Send, wait, and look into every bucket; tell what is done. CanaryError where it is not well.

    `hosts` are the names that are called, by their labels; `looks` is how often our own line is
    looked for before it is given up.
    """
    word = f"canary{secrets.token_hex(12)}"
    marks = {place: f"{word}{place}" for place in PLACES}
    for label, method, address in CALLS:
        url = f"https://{hosts[label]}{address.format(**marks)}?word={marks['query']}"
        request_id = send(Sent(method, url, {"X-Canary": marks["header"]}))
        if not request_id:
            raise CanaryError(f"{method} {url} did not reach a function: there was no Request-Id.")
        _await_line(request_id, project, sleep, looks)
        yield f"{method} {url}: our own line of {request_id} is there"
    sleep(SETTLE)
    buckets = [each["name"] for each in gcloud(f"logging buckets list --project={project}")]
    found = [line for bucket in buckets for line in _find(word, bucket)]
    if found:
        raise CanaryError("Addresses are logged:\n" + "\n".join(found))
    yield f"{word} is in none of {len(buckets)} log buckets"


def _await_line(request_id: str, project: str, sleep: Callable[[float], None], looks: int) -> None:
    for _ in range(looks):
        if gcloud(
            f"""logging read 'jsonPayload.requestId="{request_id}"' --bucket=ally"""
            f" --location=europe-west2 --view=_AllLogs --freshness=1h --project={project}"
        ):
            return
        sleep(PAUSE)
    raise CanaryError(
        f"Our own line of {request_id} did not come in {looks * PAUSE} seconds: that a word is not"
        " found would prove nothing."
    )


def _find(word: str, bucket: str) -> Iterator[str]:
    """Tell of each entry that has the word: which log, and what part of a request it keeps."""
    _, project, _, location, _, name = bucket.split("/")
    for entry in gcloud(
        f"""logging read '"{word}"' --bucket={name} --location={location} --view=_AllLogs"""
        f" --freshness=1h --project={project}"
    ):
        kept = [place for place in PLACES if f"{word}{place}" in json.dumps(entry)]
        yield f"  {name} ({location}): {entry['logName']} keeps the {', the '.join(kept)}"


def send(sent: Sent) -> str:
    """Send a request over the network."""
    request = Request(  # noqa: S310 - its address is made here, and begins with https
        sent.url,
        headers=sent.headers,
        method=sent.method,
        data=b"" if sent.method == "POST" else None,
    )
    try:
        with urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
            return str(answer.headers.get("Request-Id", ""))
    except HTTPError as refusal:
        return str(refusal.headers.get("Request-Id", ""))


def main() -> None:
    """Look once, and end with 1 where it is not well."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("environment", choices=environments())
    found = values(parser.parse_args().environment, commit="")
    try:
        hosts = {each["label"]: each["domain"] for each in found["hosts"]}
        for line in look(found["project"], hosts, send, time.sleep):
            print(line)
    except (CanaryError, GcloudError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
