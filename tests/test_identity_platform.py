"""Passwords that Identity Platform keeps: what tests/firebase asks the real emulator too, and more.

Those that are asked of both take `passwords`, and an address of their own from `email`.
"""

import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from shared.backends import (
    OURS,
    BackendError,
    Key,
    RejectedError,
    UnavailableError,
    open_passwords,
)
from shared.backends.google import identity
from shared.backends.google.identity import KEPT, IdentityPasswords
from shared.passwords import HashedPasswords
from shared.service import Service
from shared.settings import SettingError, load
from shared.users import Login, User, login_id
from tests.support.identity_platform import KEY, PROJECT, TOKEN, IdentityPlatform
from tests.support.joining import PASSWORD, address, invitation_code, joins
from tests.support.people import Person, signed_in
from tests.support.serving import Backing, Json, Server
from tests.support.waiting import until

T = TypeVar("T")

RIGHT, OTHER = "quartz lantern meadow", "another lantern meadow"


def keyed(text: str) -> str:
    return f"keyed {text}"


def connected(address: str, project: str = PROJECT) -> IdentityPasswords:
    earlier = HashedPasswords(keyed)
    return IdentityPasswords(project, KEY, earlier=earlier, call_timeout=5, address=address)


def wait(doing: Awaitable[T]) -> T:
    async def act() -> T:
        return await doing

    return asyncio.run(act())


@pytest.fixture(scope="module")
def platform() -> Iterator[IdentityPlatform]:
    running = IdentityPlatform()
    yield running
    running.stop()


@pytest.fixture
def passwords(platform: IdentityPlatform) -> Iterator[IdentityPasswords]:
    yield connected(platform.address)
    platform.failing = None


@pytest.fixture
def email() -> str:
    return f"Grace.{uuid.uuid4().hex[:8]}@health.example"


# --- Of the real emulator too ---------------------------------------------------------------------


def test_a_password_is_right_for_whoever_keeps_it_and_no_other_is(
    passwords: IdentityPasswords, email: str
) -> None:
    kept = wait(passwords.keep(email, RIGHT))
    assert kept.startswith(KEPT)
    assert RIGHT not in kept
    assert wait(passwords.check(email, RIGHT, kept))
    assert wait(passwords.check(email.lower(), RIGHT, kept))
    assert not wait(passwords.check(email, OTHER, kept))
    assert not passwords.outdated(kept)


def test_a_password_that_is_chosen_anew_is_the_only_one(
    passwords: IdentityPasswords, email: str
) -> None:
    kept = wait(passwords.keep(email, RIGHT))
    assert wait(passwords.keep(email.upper(), OTHER)) == kept
    assert wait(passwords.check(email, OTHER, kept))
    assert not wait(passwords.check(email, RIGHT, kept))


def test_who_has_an_account_there_and_none_with_us_is_nobody(
    passwords: IdentityPasswords, email: str
) -> None:
    kept = wait(passwords.keep(email, RIGHT))
    assert not wait(passwords.check(email, RIGHT, None))
    assert not wait(passwords.check(f"x{email}", RIGHT, None))
    assert not wait(passwords.check(email, RIGHT, f"{kept}x"))


def test_a_password_is_the_same_however_its_characters_were_typed(
    passwords: IdentityPasswords, email: str
) -> None:
    kept = wait(passwords.keep(email, "caf\u00e9 lantern meadow"))
    assert wait(passwords.check(email, "cafe\u0301 lantern meadow", kept))


def test_a_password_that_was_hashed_before_is_right_until_it_is_kept_there(
    passwords: IdentityPasswords, email: str
) -> None:
    hashed = wait(HashedPasswords(keyed).keep(email, RIGHT))
    assert wait(passwords.check(email, RIGHT, hashed))
    assert not wait(passwords.check(email, OTHER, hashed))
    assert passwords.outdated(hashed)
    kept = wait(passwords.keep(email, RIGHT))
    assert wait(passwords.check(email, RIGHT, kept))


def test_a_password_that_is_refused_there_is_named_by_its_code_alone(
    passwords: IdentityPasswords, email: str
) -> None:
    with pytest.raises(RejectedError) as refused:
        wait(passwords.keep(email, "short"))
    assert str(refused.value) == "WEAK_PASSWORD"


def test_an_account_that_is_forgotten_opens_nothing_and_the_address_is_free(
    passwords: IdentityPasswords, email: str
) -> None:
    kept = wait(passwords.keep(email, RIGHT))
    account = passwords.account(kept)
    assert account is not None
    wait(passwords.forget(account))
    wait(passwords.forget(account))
    assert not wait(passwords.check(email, RIGHT, kept))
    again = wait(passwords.keep(email, OTHER))
    assert again != kept
    assert wait(passwords.check(email, OTHER, again))


# --- Of the stand-in alone ------------------------------------------------------------------------


@pytest.mark.parametrize("known", ["here", "there", "hashed", "nowhere"])
def test_whoever_it_is_the_platform_is_asked_once_and_the_same(
    known: str, passwords: IdentityPasswords, platform: IdentityPlatform, email: str
) -> None:
    kept = None
    if known in ("here", "there"):
        kept = wait(passwords.keep(email, RIGHT))
    if known == "there":
        kept = None
    if known == "hashed":
        kept = wait(HashedPasswords(keyed).keep(email, RIGHT))
    platform.asked.clear()
    wait(passwords.check(email, OTHER, kept))
    assert platform.asked == ["/v1/accounts:signInWithPassword"]


@pytest.mark.parametrize(
    ("failing", "error"),
    [
        ((400, "TOO_MANY_ATTEMPTS_TRY_LATER : Access was disabled."), UnavailableError),
        ((429, "RESOURCE_EXHAUSTED"), UnavailableError),
        ((503, "The service is unavailable."), UnavailableError),
        ((400, "API key not valid. grace@health.example"), RejectedError),
        ((403, "PERMISSION_DENIED"), RejectedError),
    ],
)
def test_what_is_no_answer_about_a_password_is_an_error_and_never_a_wrong_one(
    failing: tuple[int, str],
    error: type[BackendError],
    passwords: IdentityPasswords,
    platform: IdentityPlatform,
    email: str,
) -> None:
    kept = wait(passwords.keep(email, RIGHT))
    platform.failing = failing
    attempts: list[Callable[[], Awaitable[Any]]] = [
        lambda: passwords.check(email, RIGHT, kept),
        lambda: passwords.keep(email, RIGHT),
    ]
    for attempt in attempts:
        with pytest.raises(error) as raised:
            wait(attempt())
        assert "@" not in str(raised.value)
        assert raised.value.__cause__ is None


def test_a_platform_that_is_not_there_is_unavailable(email: str) -> None:
    gone = IdentityPlatform()
    gone.stop()
    with pytest.raises(UnavailableError):
        wait(connected(gone.address).check(email, RIGHT, None))


def test_no_address_password_key_or_token_stands_in_a_url(
    passwords: IdentityPasswords, platform: IdentityPlatform, email: str
) -> None:
    platform.asked.clear()
    kept = wait(passwords.keep(email, RIGHT))
    wait(passwords.check(email, RIGHT, kept))
    assert len(platform.asked) == 3
    assert not any("?" in path or "@" in path for path in platform.asked)


def test_on_google_cloud_the_service_account_says_who_asks(
    platform: IdentityPlatform, email: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real google-auth, with a metadata server that is ours."""
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_CONFIG"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.setenv("GCE_METADATA_HOST", platform.address)
    monkeypatch.setenv("GCE_METADATA_IP", platform.address)
    monkeypatch.setattr(
        identity, "HOST", f"http://{platform.address}/identitytoolkit.googleapis.com"
    )
    monkeypatch.setattr(platform, "tokens", {TOKEN})
    cloud = IdentityPasswords(PROJECT, KEY, earlier=HashedPasswords(keyed), call_timeout=5)
    kept = wait(cloud.keep(email, RIGHT))
    assert wait(cloud.check(email, RIGHT, kept))
    with pytest.raises(RejectedError, match="Request"):  # "owner" is nobody where it matters
        wait(connected(platform.address).keep(email, RIGHT))


def test_a_deployment_chooses_by_a_setting_who_keeps_passwords(tmp_path: Path) -> None:
    ours = {"ALLY_BACKEND": "local", "ALLY_STATE": str(tmp_path)}
    theirs = {**ours, "ALLY_IDENTITY_PLATFORM": PROJECT, "ALLY_IDENTITY_KEY": KEY}
    assert isinstance(open_passwords(load(ours), keyed), HashedPasswords)
    assert isinstance(open_passwords(load(theirs), keyed), IdentityPasswords)
    for wrong in (
        {"ALLY_IDENTITY_KEY": ""},
        {"ALLY_IDENTITY_PLATFORM": ""},
        {"ALLY_FIREBASE_TEST": PROJECT},
        {"ALLY_IDENTITY_HOST": "identity.example:443"},
    ):
        with pytest.raises(SettingError, match="ALLY_IDENTITY"):
            load({**theirs, **wrong})


# --- In the dashboard -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def backing(
    platform: IdentityPlatform, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Backing]:
    """One whose users have their passwords with Identity Platform."""
    folder = tmp_path_factory.mktemp("state")
    made = Backing(
        {
            "ALLY_BACKEND": "local",
            "ALLY_STATE": str(folder),
            "ALLY_LOG": str(folder / "requests.jsonl"),
            "ALLY_IDENTITY_PLATFORM": PROJECT,
            "ALLY_IDENTITY_KEY": KEY,
            "ALLY_IDENTITY_HOST": platform.address,
        }
    )
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(backing: Backing) -> Iterator[Server]:
    running = Server(backing, Path(backing.environment["ALLY_STATE"]))
    yield running
    running.stop()


def test_people_sign_up_and_in_by_the_same_pages_and_no_hash_is_kept(
    backing: Backing, server: Server, platform: IdentityPlatform
) -> None:
    email = address()
    joins(backing, server, email)
    person = Person(server)
    page = person.submit(person.get("/sign-in"), 400, email=email, password=OTHER)
    page = person.submit(page, email=email, password=PASSWORD)
    assert page.url.path == "/test"
    account = account_of(platform, email)
    assert account is not None
    assert account["password"] == PASSWORD
    assert kept_of(backing, email) == f"{KEPT}{account['localId']}"


def test_who_leaves_the_team_leaves_no_account_behind(
    backing: Backing, server: Server, platform: IdentityPlatform
) -> None:
    partner = backing.partner(server)
    administrator, email = signed_in(partner), address()
    page = administrator.get("/team/invite")
    administrator.submit(page, email=email, role="member")
    code = invitation_code(backing, partner.organisation.id, email)
    newcomer = Person(server)
    newcomer.submit(newcomer.get("/invitation"), code=code, name="Sam Field", password=PASSWORD)
    assert account_of(platform, email) is not None
    (leaves,) = re.findall(r'href="(/team/usr_\w+)">Sam Field', administrator.get("/team").text)
    administrator.submit(administrator.get(leaves), to=f"{leaves}/remove")
    until(lambda: account_of(platform, email) is None)


def account_of(platform: IdentityPlatform, email: str) -> Json | None:
    accounts = list(platform.accounts.values())
    return next((each for each in accounts if each["email"] == email), None)


def kept_of(backing: Backing, email: str) -> str | None:
    """Return what the record of a user holds of their password."""

    async def read(held: Service) -> str | None:
        (found,) = await held.storage.get(
            [Key("account", OURS, Login.collection, login_id(held.keyring.hash, email))]
        )
        assert found is not None
        place = Key("account", found.data["organisation"], User.collection, found.data["user"])
        (user,) = await held.storage.get([place])
        assert user is not None
        return User.load(user.data).passwordHash

    return backing.run(read)
