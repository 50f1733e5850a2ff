"""Settings: read once from the environment, here and nowhere else."""

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args
from urllib.parse import urlsplit

Mode = Literal["test", "live"]
Space = Literal["test", "live", "account"]
"""Where documents lie: what belongs to a mode, and what an organisation has once (its account)."""

SHORTEST_PEPPER = 32
LONGEST_BELIEF = 15
AUTHORITY = "localhost-ca.pem"
"""The file in the local backend's folder that says whose certificates `make run` serves with."""
SPACES: tuple[Space, ...] = get_args(Space)


class SettingError(Exception):
    """A setting is missing or wrong; the message says which and what to do."""


class Place(NamedTuple):
    """Where Firestore keeps one space: a database, and the root collection in it."""

    database: str
    root: str


@dataclass(frozen=True, eq=False, repr=False)
class Settings:
    """What a deployment decides. Each field says its environment variable."""

    backend: Literal["local", "google"]
    """ALLY_BACKEND: where documents and keys are kept. There is no default."""
    state: str = ".ally"
    """ALLY_STATE: the folder of the local backend."""
    project: str = ""
    """GOOGLE_CLOUD_PROJECT: the project of the google backend."""
    service: str = "ally"
    """K_SERVICE: the name under which Cloud Run serves this function."""
    places: Mapping[Space, Place] = field(default_factory=dict)
    """ALLY_DATABASE_TEST, _LIVE, _ACCOUNT and ALLY_ROOT_TEST, _LIVE, _ACCOUNT."""
    pepper: bytes = b""
    """ALLY_PEPPER: keys the hashes of API keys and replays; at least 32 characters. Without it the
    secret `pepper` is read, which the local backend makes for itself."""
    behind_gateway: bool = False
    """ALLY_BEHIND_GATEWAY: the caller's key is in X-Forwarded-Authorization."""
    url: str = ""
    """ALLY_URL: where callers reach this deployment, without a slash at its end: what links in
    answers begin with. `make run` takes its own."""
    dashboard_url: str = ""
    operations_url: str = ""
    """ALLY_DASHBOARD_URL, ALLY_OPERATIONS_URL: where partners' users and Ally's staff find their
    pages, https:// and a host that is not the API's, so that no cookie of theirs ever reaches it.
    The local backend takes names under the API's own, dashboard.localhost and so on."""
    mailbox_url: str = ""
    """Where the local backend shows what would have been mailed; nowhere else."""
    iap_audience: str = ""
    """ALLY_IAP_AUDIENCE: what Identity-Aware Proxy says that its word on a member of staff is for,
    /projects/NUMBER/locations/PLACE/services/NAME."""
    iap_keys: str = "https://www.gstatic.com/iap/verify/public_key-jwk"
    """ALLY_IAP_KEYS: where the keys that sign that word are published; on the google backend no
    others than these, but for tests."""
    proxies: int = 0
    """ALLY_PROXIES: how many proxies in front of us each add an address to X-Forwarded-For. The
    caller's is that many from its right; with none it is that of the connection."""
    support: str = "support@ally.example"
    """ALLY_SUPPORT: the address that a 5xx tells people to write to."""
    storage_timeout: float = 5.0
    """ALLY_STORAGE_TIMEOUT: seconds within which a storage verb, or a look-up of a key, ends."""
    lock_timeout: float = 5.0
    """ALLY_LOCK_TIMEOUT: seconds for which a contended change is tried before 409."""
    key_cache: float = 10.0
    """ALLY_KEY_CACHE: seconds for which what was read of a key, an end user or an origin is
    believed before it is read again: at most 15, within which a revoked one must be refused."""
    key_lookups: float = 100.0
    """ALLY_KEY_LOOKUPS: unknown keys, and as many unknown origins, that an instance looks up in a
    second, on average."""
    rate_test: int = 250
    rate_live: int = 1000
    """ALLY_RATE_TEST, ALLY_RATE_LIVE: requests that one key may make in a window."""
    rate_window: int = 10
    """ALLY_RATE_WINDOW: seconds of a window."""
    rate_end_user: int = 60
    """ALLY_RATE_END_USER: requests that one end user may make in a window."""
    firebase: Mapping[Mode, str] = field(default_factory=dict)
    """ALLY_FIREBASE_TEST, ALLY_FIREBASE_LIVE: the projects of Firebase Authentication whose end
    users call in each mode; none, no end user does. The local backend names its own."""
    firebase_keys: str = ""
    """ALLY_FIREBASE_KEYS: where the keys that sign ID tokens are published, instead of the local
    backend's own tokens. On the google backend it is Google's address, but for tests."""
    firebase_emulator: str = ""
    """FIREBASE_AUTH_EMULATOR_HOST: host and port of the Firebase emulator on this machine, whose
    unsigned tokens are then taken, and no others. Never on the google backend."""
    body_limit: int = 262_144
    """ALLY_BODY_LIMIT: bytes of the largest body that is read."""
    body_timeout: float = 10.0
    """ALLY_BODY_TIMEOUT: seconds within which a body ends, so that nobody holds places for nothing.
    """
    firestore_emulator: str = ""
    """FIRESTORE_EMULATOR_HOST: host and port of a Firestore emulator on this machine."""
    secret_manager: str = ""
    """ALLY_SECRET_MANAGER_HOST: host and port of a stand-in for Secret Manager on this machine."""
    monitoring: str = ""
    """ALLY_MONITORING_HOST: host and port of a stand-in for Cloud Monitoring on this machine."""
    metering_interval: float = 60.0
    """ALLY_METERING_INTERVAL: seconds that pass at least between two flushes of what an instance
    counted: what is lost of the metrics when one is killed. At least 10 on the google backend,
    where one series takes a point in 5 s and each is paid for; on the local one, which costs
    nothing, it is 1 if not said."""
    queue: str = ""
    """ALLY_QUEUE: the queue of Cloud Tasks that has jobs done, projects/…/locations/…/queues/…."""
    worker_url: str = ""
    """ALLY_WORKER_URL: where the function `worker` does them, https://…."""
    worker_account: str = ""
    """ALLY_WORKER_ACCOUNT: the service account in whose name it is asked to."""
    cloud_tasks: str = ""
    """ALLY_CLOUD_TASKS_HOST: host and port of a stand-in for Cloud Tasks on this machine."""
    smtp: str = ""
    """ALLY_SMTP: the server that takes mail, smtps://HOST:PORT or smtp+starttls://HOST:PORT (RFC
    8314, RFC 3207), or in clear, for this machine alone, smtp://127.0.0.1:PORT. Without it the
    local backend keeps mail in its state folder."""
    smtp_user: str = ""
    """ALLY_SMTP_USER: who signs in there, if anybody; with the secret `smtp-password`."""
    mail_from: str = ""
    """ALLY_MAIL_FROM: who mail is from, such as Ally <no-reply@ally.example>."""
    identity_platform: str = ""
    """ALLY_IDENTITY_PLATFORM: the project whose Identity Platform keeps and checks the passwords of
    users of the dashboard; without it we keep their hashes. It is none of those of end users."""
    identity_key: str = ""
    """ALLY_IDENTITY_KEY: the web API key of that project, by which passwords are checked."""
    identity_host: str = ""
    """ALLY_IDENTITY_HOST: host and port of a stand-in for it on this machine."""
    log: str = "-"
    """ALLY_LOG: the file that request lines are appended to; `-` is standard output, which
    `make run`, whose own words go there, replaces by requests.jsonl in the state folder. A
    request takes some 400 bytes, for ever: while no server runs the file can be moved away, and
    what was copied of it (GET /v1/requests) stays."""
    log_rate: int = 50
    """ALLY_LOG_RATE: lines of one organisation in a second and mode, beyond which those of
    successes that changed nothing and touched no patient are not copied to where GET /v1/requests
    looks; nor, beyond as many, those of pages, whatever became of them."""


def load(environ: Mapping[str, str] = os.environ, backend: str = "", url: str = "") -> Settings:
    """Read the settings, or raise SettingError with a sentence that says what is wrong.

    `backend` and `url` are those to take where the environment names none.
    """
    backend = environ.get("ALLY_BACKEND", backend)
    if backend not in ("local", "google"):
        raise SettingError("Set ALLY_BACKEND to local or google.")
    settings = Settings(
        backend="google" if backend == "google" else "local",
        state=environ.get("ALLY_STATE", Settings.state),
        project=environ.get("GOOGLE_CLOUD_PROJECT", ""),
        service=environ.get("K_SERVICE", Settings.service),
        places={
            space: Place(
                database=environ.get(f"ALLY_DATABASE_{space.upper()}", "(default)"),
                root=environ.get(f"ALLY_ROOT_{space.upper()}", space),
            )
            for space in SPACES
        },
        pepper=environ.get("ALLY_PEPPER", "").encode(),
        behind_gateway=_switch(environ, "ALLY_BEHIND_GATEWAY"),
        url=(api := environ.get("ALLY_URL", url)),
        dashboard_url=environ.get("ALLY_DASHBOARD_URL", _under(api, "dashboard", backend)),
        operations_url=environ.get("ALLY_OPERATIONS_URL", _under(api, "operations", backend)),
        mailbox_url=_under(api, "mailbox", backend),
        iap_audience=environ.get("ALLY_IAP_AUDIENCE", ""),
        iap_keys=environ.get("ALLY_IAP_KEYS", Settings.iap_keys),
        proxies=int(_number(environ, "ALLY_PROXIES", 0, least=0)),
        support=environ.get("ALLY_SUPPORT", Settings.support),
        storage_timeout=_number(environ, "ALLY_STORAGE_TIMEOUT", Settings.storage_timeout),
        lock_timeout=_number(environ, "ALLY_LOCK_TIMEOUT", Settings.lock_timeout),
        key_cache=_number(environ, "ALLY_KEY_CACHE", Settings.key_cache, most=LONGEST_BELIEF),
        key_lookups=_number(environ, "ALLY_KEY_LOOKUPS", Settings.key_lookups, least=1),
        rate_test=int(_number(environ, "ALLY_RATE_TEST", Settings.rate_test, least=1)),
        rate_live=int(_number(environ, "ALLY_RATE_LIVE", Settings.rate_live, least=1)),
        rate_window=int(_number(environ, "ALLY_RATE_WINDOW", Settings.rate_window, least=1)),
        rate_end_user=int(_number(environ, "ALLY_RATE_END_USER", Settings.rate_end_user, least=1)),
        firebase={
            mode: environ.get(f"ALLY_FIREBASE_{mode.upper()}", own)
            for mode, own in _projects(backend).items()
        },
        firebase_keys=environ.get("ALLY_FIREBASE_KEYS", ""),
        firebase_emulator=_loopback(environ, "FIREBASE_AUTH_EMULATOR_HOST"),
        body_limit=int(_number(environ, "ALLY_BODY_LIMIT", Settings.body_limit)),
        body_timeout=_number(environ, "ALLY_BODY_TIMEOUT", Settings.body_timeout),
        firestore_emulator=_loopback(environ, "FIRESTORE_EMULATOR_HOST"),
        secret_manager=_loopback(environ, "ALLY_SECRET_MANAGER_HOST"),
        monitoring=_loopback(environ, "ALLY_MONITORING_HOST"),
        metering_interval=_number(
            environ,
            "ALLY_METERING_INTERVAL",
            Settings.metering_interval if backend == "google" else 1,
            least=10 if backend == "google" else 1,
        ),
        queue=environ.get("ALLY_QUEUE", ""),
        worker_url=environ.get("ALLY_WORKER_URL", ""),
        worker_account=environ.get("ALLY_WORKER_ACCOUNT", ""),
        cloud_tasks=_loopback(environ, "ALLY_CLOUD_TASKS_HOST"),
        smtp=environ.get("ALLY_SMTP", ""),
        smtp_user=environ.get("ALLY_SMTP_USER", ""),
        mail_from=environ.get(
            "ALLY_MAIL_FROM", "Ally <no-reply@ally.example>" if backend == "local" else ""
        ),
        identity_platform=environ.get("ALLY_IDENTITY_PLATFORM", ""),
        identity_key=environ.get("ALLY_IDENTITY_KEY", ""),
        identity_host=_loopback(environ, "ALLY_IDENTITY_HOST"),
        log=environ.get("ALLY_LOG", Settings.log),
        log_rate=int(_number(environ, "ALLY_LOG_RATE", Settings.log_rate, least=0)),
    )
    if len(set(settings.places.values())) < len(SPACES):
        raise SettingError("Give each of test, live and account a database or a root of its own.")
    if settings.pepper and len(settings.pepper) < SHORTEST_PEPPER:
        raise SettingError("Set ALLY_PEPPER to a secret of at least 32 characters.")
    _check_mail(settings)
    if backend == "google":
        _check_google(settings)
    _check_people(settings)
    return settings


def _check_google(settings: Settings) -> None:
    """Refuse what is wrong, or missing, of what the google backend alone needs."""
    if not settings.project:
        raise SettingError("Set GOOGLE_CLOUD_PROJECT to the project that holds the data.")
    if not re.fullmatch(r"https://[^/\s]+", settings.url):
        raise SettingError("Set ALLY_URL to where callers reach this, such as https://api.example.")
    _check_pages(settings)
    if settings.firebase_emulator:
        raise SettingError("Unset FIREBASE_AUTH_EMULATOR_HOST: anybody could sign in as anybody.")
    if not re.fullmatch(r"projects/[^/]+/locations/[^/]+/queues/[^/]+", settings.queue):
        raise SettingError("Set ALLY_QUEUE to projects/PROJECT/locations/PLACE/queues/NAME.")
    here = r"|http://127\.0\.0\.1:\d+" if settings.cloud_tasks else ""
    if not re.fullmatch(r"https://[^/\s]+" + here, settings.worker_url):
        raise SettingError("Set ALLY_WORKER_URL to where the worker is, such as https://w.example.")
    if "@" not in settings.worker_account:
        raise SettingError("Set ALLY_WORKER_ACCOUNT to the account that the worker is asked by.")
    for name, value in (("SMTP", settings.smtp), ("MAIL_FROM", settings.mail_from)):
        if not value:
            raise SettingError(f"Set ALLY_{name}: people confirm their address by mail.")


def _check_mail(settings: Settings) -> None:
    """Refuse a mail server that would be spoken to in clear, and a sender who is none."""
    encrypted = r"(smtps|smtp\+starttls)://[^\s:/@]+:\d+"
    here = r"smtp://(127\.0\.0\.1|localhost|\[::1\]):\d+"
    if settings.smtp and not re.fullmatch(f"{encrypted}|{here}", settings.smtp):
        raise SettingError("Set ALLY_SMTP to smtps://HOST:PORT or smtp+starttls://HOST:PORT.")
    if settings.mail_from and not re.fullmatch(r"[^<>@\r\n]+ <\S+@\S+>", settings.mail_from):
        raise SettingError(
            "Set ALLY_MAIL_FROM to a name and address, Ally <no-reply@ally.example>."
        )


def _check_pages(settings: Settings) -> None:
    """Refuse pages that would share a host with each other or the API, or staff that is anybody."""
    pages = {"DASHBOARD": settings.dashboard_url, "OPERATIONS": settings.operations_url}
    for name, url in pages.items():
        if not re.fullmatch(r"https://[^/\s]+", url):
            raise SettingError(f"Set ALLY_{name}_URL to https:// and a host of its own.")
    hosts = {urlsplit(url).hostname for url in (settings.url, *pages.values())}
    if len(hosts) <= len(pages):
        raise SettingError(
            "Set ALLY_URL, ALLY_DASHBOARD_URL and ALLY_OPERATIONS_URL to three hosts: a cookie of"
            " one must never reach another."
        )
    if not re.fullmatch(r"/projects/\d+/\S+", settings.iap_audience):
        raise SettingError(
            "Set ALLY_IAP_AUDIENCE to /projects/NUMBER/locations/PLACE/services/NAME."
        )


def _under(url: str, name: str, backend: str) -> str:
    """Return the local backend's address for pages: a name under the host of its API."""
    scheme, _, host = url.partition("://")
    return f"{scheme}://{name}.{host}" if host and backend == "local" else ""


def _check_people(settings: Settings) -> None:
    """Refuse projects that should be apart, and keys by which anybody could be anybody."""
    if settings.firebase["test"] and settings.firebase["test"] == settings.firebase["live"]:
        raise SettingError("Set ALLY_FIREBASE_TEST and ALLY_FIREBASE_LIVE to different projects.")
    if settings.identity_platform in set(settings.firebase.values()) - {""}:
        raise SettingError("Set ALLY_IDENTITY_PLATFORM to a project that no end user signs in to.")
    if bool(settings.identity_platform) != bool(settings.identity_key):
        raise SettingError("Set ALLY_IDENTITY_PLATFORM and ALLY_IDENTITY_KEY, or neither.")
    # Other keys than Google's are for tests, and those have a Firestore emulator.
    tests = settings.backend == "local" or bool(settings.firestore_emulator)
    published = r"https://\S+|http://(localhost|127\.0\.0\.1):\S+"
    keys = {"FIREBASE": (settings.firebase_keys, ""), "IAP": (settings.iap_keys, Settings.iap_keys)}
    for whose, (address, usual) in keys.items():
        if address != usual and not tests:
            raise SettingError(
                f"Unset ALLY_{whose}_KEYS: who publishes them could sign in as anybody."
            )
        if address != usual and not re.fullmatch(published, address):
            raise SettingError(f"Set ALLY_{whose}_KEYS to an https:// address, or not at all.")


def _projects(backend: str) -> dict[Mode, str]:
    """Return the projects whose tokens are taken where the environment names none."""
    local = backend == "local"
    return {"test": "ally-local-test" if local else "", "live": "ally-local-live" if local else ""}


def _number(
    environ: Mapping[str, str],
    name: str,
    default: float,
    least: float = sys.float_info.min,
    most: float = sys.float_info.max,
) -> float:
    """Read a number of at least `least`, without one above zero, and of at most `most`."""
    try:
        number = float(environ.get(name, default))
    except ValueError:
        number = -1.0
    if not least <= number <= most:
        above = f"of at least {least:g}" if least >= 1 or least == 0 else "above zero"
        below = f", and at most {most:g}" if most < sys.float_info.max else ""
        raise SettingError(f"Set {name} to a number {above}{below}.")
    return number


def _switch(environ: Mapping[str, str], name: str) -> bool:
    value = environ.get(name, "0")
    if value not in ("0", "1"):
        raise SettingError(f"Set {name} to 0 or 1.")
    return value == "1"


def _loopback(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "")
    if value and value.rpartition(":")[0] not in ("127.0.0.1", "localhost", "[::1]"):
        raise SettingError(f"Set {name} to a port of this machine, 127.0.0.1:PORT, or not at all.")
    return value
