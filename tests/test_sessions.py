"""Sessions: that all of them end when they must, and what one may do no longer."""

from datetime import timedelta

from shared.provision import open_store
from shared.service import Service
from shared.sessions import COOKIE
from shared.signing import MOST_SESSIONS, sessions_of
from shared.users import Session, User
from tests.support.people import Person, signed_in
from tests.support.serving import Backing, Partner
from tests.test_signing_in import has_password, sets_up_app, signs_in


def begins_many(backing: Backing, user: User) -> None:
    """Let a user have more sessions than are read at once."""

    async def begin(service: Service) -> None:
        at = service.now()
        store = open_store(service, "test", user.organisation, at=at, account=True)
        for _ in range(2 * MOST_SESSIONS):
            token = service.sessions.make_token()
            store.insert(
                Session(
                    id=str(service.sessions.id_of(token)),
                    organisation=user.organisation,
                    user=user.id,
                    createdAt=at,
                    authenticatedAt=at,
                    seenAt=at - timedelta(minutes=1),
                )
            )
        await store.commit()

    backing.run(begin)


def lasting(backing: Backing, user: User) -> list[str]:
    async def read(service: Service) -> list[str]:
        store = open_store(service, "test", user.organisation, at=service.now(), account=True)
        return [each.id for each in await sessions_of(store, user.id)]

    return backing.run(read)


def test_all_sessions_of_somebody_end_however_many_there_are(partner: Partner) -> None:
    person = signed_in(partner)
    begins_many(partner.backing, person.user)
    assert len(lasting(partner.backing, person.user)) == MOST_SESSIONS
    person.submit(person.get("/account"), to="/account/sessions/end-others")
    assert len(lasting(partner.backing, person.user)) == 1
    assert person.ask("GET", "/account").status_code == 200


def test_a_session_whose_last_second_factor_is_removed_sees_no_live_data_any_more(
    partner: Partner,
) -> None:
    partner.live()
    user = has_password(partner)
    person = Person(partner.server)
    signs_in(person, user.email)
    sets_up_app(person, partner.backing)
    assert person.get("/live").url.path == "/live"
    before = person.cookies[COOKIE]
    page = person.get("/account/second-factor")
    person.submit(page, to="/account/second-factor/remove")
    assert person.cookies[COOKIE] == before
    assert person.get("/live").url.path == "/account/second-factor"
    assert person.get("/test").url.path == "/test"
