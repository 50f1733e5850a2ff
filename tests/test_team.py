"""The team: who is invited, which role each has, who leaves; and an organisation always has one."""

import html
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from shared import ids
from shared.joining import Invitation
from shared.provision import open_store
from shared.service import Service
from shared.sessions import COOKIE
from shared.team import MOST_LISTED
from shared.throttles import MAILS
from shared.users import Role
from tests.support.joining import PASSWORD, address, invitation_code
from tests.support.people import Person, forms, signed_in, user_of
from tests.support.serving import Partner


def invites(admin: Person, partner: Partner, role: Role = "member", email: str = "") -> str:
    """Invite somebody, and return the code that they get."""
    email = email or address()
    page = admin.submit(admin.get("/team/invite"), email=email, role=role)
    assert email in page.text
    return invitation_code(partner.backing, partner.organisation.id, email)


def accepts(partner: Partner, code: str, status: int = 200) -> Person:
    person = Person(partner.server)
    page = person.get("/invitation")
    led = person.submit(page, status, code=code, name="Sam Field", password=PASSWORD)
    assert ("Welcome to the team." in led.text) is (status == 200)
    return person


def changes_role(admin: Person, user: str, role: Role, status: int = 200) -> None:
    page = admin.get(f"/team/{user}")
    admin.submit(page, status, to=f"/team/{user}/role", role=role)


def test_who_is_invited_joins_in_the_role_that_the_invitation_names(partner: Partner) -> None:
    admin = signed_in(partner)
    code = invites(admin, partner, "developer")
    person = accepts(partner, code.lower().replace("-", ""))
    assert "Developer" in person.get("/account").text
    assert "Sam Field" in admin.get("/team").text
    accepts(partner, code, 400)


def test_an_invitation_that_is_withdrawn_or_sent_again_leaves_no_earlier_code(
    partner: Partner,
) -> None:
    admin = signed_in(partner)
    email = address()
    first = invites(admin, partner, email=email)
    page = admin.get("/team")
    again = next(each.action for each in forms(page) if each.action.endswith("/again"))
    page = admin.submit(page, to=again)
    second = invitation_code(partner.backing, partner.organisation.id, email)
    assert first != second
    accepts(partner, first, 400)
    admin.submit(page, to=again.replace("/again", "/withdraw"))
    accepts(partner, second, 400)


def test_who_has_an_account_elsewhere_is_told_so_and_their_inviter_is_not(
    partner: Partner, other: Partner
) -> None:
    email = address()
    user_of(other.backing, other.organisation.id, email=email)
    admin = signed_in(partner)
    code = invites(admin, partner, email=email)
    person = Person(partner.server)
    page = person.submit(
        person.get("/invitation"), 400, code=code, name="Sam Field", password=PASSWORD
    )
    assert "has an account already" in page.text
    assert "Code works until" in admin.get("/team").text


def test_nobody_is_invited_twice_or_who_is_in_the_team(partner: Partner) -> None:
    admin = signed_in(partner)
    email = address()
    invites(admin, partner, email=email)
    page = admin.get("/team/invite")
    assert "end it again" in admin.submit(page, 400, email=email, role="member").text
    theirs = admin.user.email
    assert "in your team" in admin.submit(page, 400, email=theirs, role="member").text


def test_nobody_is_flooded_with_invitations(partner: Partner) -> None:
    admin = signed_in(partner)
    email = address()
    codes = {invites(admin, partner, email=email)}
    again = next(each.action for each in forms(admin.get("/team")) if each.action.endswith("again"))
    for _ in range(MAILS[0].most + 1):
        page = admin.submit(admin.get("/team"), to=again)
        codes.add(invitation_code(partner.backing, partner.organisation.id, email))
    assert len(codes) == MAILS[0].most
    assert "Nothing was sent" in page.text


def test_an_administrator_sees_the_team_of_their_own_organisation_alone(
    partner: Partner, other: Partner
) -> None:
    theirs = signed_in(other)
    mine = signed_in(partner)
    assert theirs.user.email not in mine.get("/team").text
    mine.get(f"/team/{theirs.user.id}", 404)
    csrf = dict(forms(mine.get("/team"))[0].fields)["_csrf"]
    for path in (f"/team/{theirs.user.id}/role", f"/team/{theirs.user.id}/remove"):
        assert mine.post(path, {"_csrf": csrf, "role": "member"}).status_code == 404
    assert theirs.ask("GET", "/team").status_code == 200


def test_the_last_administrator_stays(partner: Partner) -> None:
    admin = signed_in(partner)
    user_of(partner.backing, partner.organisation.id, "member")
    page = admin.get(f"/team/{admin.user.id}")
    refused = admin.submit(page, 400, to=f"/team/{admin.user.id}/role", role="member")
    assert "nobody else is administrator" in refused.text
    admin.submit(page, 400, to=f"/team/{admin.user.id}/remove")
    assert admin.ask("GET", "/team").status_code == 200


def test_of_two_administrators_who_take_each_others_role_at_one_time_one_is_left(
    partner: Partner,
) -> None:
    one, two = signed_in(partner), signed_in(partner)

    tokens = {who: dict(forms(who.get("/team"))[0].fields)["_csrf"] for who in (one, two)}

    def take(who: Person, whose: Person) -> int:
        sent = {"_csrf": tokens[who], "role": "member"}
        return who.post(f"/team/{whose.user.id}/role", sent).status_code

    with ThreadPoolExecutor(2) as threads:
        statuses = sorted(threads.map(take, (one, two), (two, one)))
    assert statuses[0] == 303
    assert statuses[1] in (400, 403)


def test_of_two_administrators_who_step_down_at_one_time_one_is_left(partner: Partner) -> None:
    both = signed_in(partner), signed_in(partner)
    tokens = {who: dict(forms(who.get("/team"))[0].fields)["_csrf"] for who in both}

    def step_down(who: Person) -> int:
        sent = {"_csrf": tokens[who], "role": "member"}
        return who.post(f"/team/{who.user.id}/role", sent).status_code

    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(step_down, both)) == [303, 400]


def test_a_role_that_is_taken_away_counts_at_once_for_what_it_could_change(
    partner: Partner,
) -> None:
    admin, boss = signed_in(partner), signed_in(partner)
    admin.get("/team")  # so that the server remembers the role
    changes_role(boss, admin.user.id, "member")
    csrf = dict(forms(admin.ask("GET", "/account"))[0].fields)["_csrf"]
    sent = {"_csrf": csrf, "email": address(), "role": "administrator"}
    assert admin.post("/team/invite", sent).status_code in (400, 403)
    assert "Invited" not in boss.get("/team").text


def test_who_is_removed_is_nobody_any_more_and_can_be_invited_anew(partner: Partner) -> None:
    boss = signed_in(partner)
    email = address()
    person = accepts(partner, invites(boss, partner, email=email))
    found = [each for each in boss.get("/team").text.split('href="/team/usr_') if email in each]
    user = "usr_" + found[0].partition('"')[0]
    boss.submit(boss.get(f"/team/{user}"), to=f"/team/{user}/remove")
    assert person.ask("GET", "/account").status_code == 303
    entered = Person(partner.server)
    entered.submit(entered.get("/sign-in"), 400, email=email, password=PASSWORD)
    accepts(partner, invites(boss, partner, email=email))


def test_what_becomes_of_the_team_is_in_the_log_without_an_address(partner: Partner) -> None:
    admin = signed_in(partner)
    email = address()
    code = invites(admin, partner, email=email)
    person = accepts(partner, code)
    log = Path(partner.backing.environment["ALLY_LOG"]).read_text()
    theirs = [each for each in partner.lines() if each.get("principal") == admin.user.id]
    assert any(each["route"] == "/team/invite" and each["objects"] for each in theirs)
    assert email not in log
    assert code not in log
    assert PASSWORD not in log
    assert person.cookies[COOKIE] not in log


def test_a_team_of_any_size_is_paged_and_somebody_is_found_by_what_is_in_no_address(
    partner: Partner, other: Partner
) -> None:
    person = signed_in(partner)
    team = [user_of(partner.backing, partner.organisation.id, "member") for _ in range(4)]
    stranger = user_of(other.backing, other.organisation.id)
    shown: list[str] = []
    path = "/team?limit=2"
    while path:
        page = person.get(path)
        shown += re.findall(r'href="/team/(usr_\w+)"', page.text)
        older = re.search(r'rel="next" href="([^"]+)"', page.text)
        path = html.unescape(older[1]) if older else ""
    assert shown == [each.id for each in reversed([person.user, *team])]
    newer = re.search(r'rel="prev" href="([^"]+)"', page.text)
    assert newer
    assert team[0].id in person.get(html.unescape(newer[1])).text
    found = person.submit(person.get("/team"), to="/team/find", email=team[2].email)
    assert found.url.path == f"/team/{team[2].id}"
    assert team[2].email not in str(found.url)
    for unknown in (stranger.email, "nobody@example.org"):
        page = person.submit(person.get("/team"), 400, to="/team/find", email=unknown)
        assert "Nobody in your team has this address, nor is anybody invited there." in page.text
    invited = address()
    invites(person, partner, email=invited)
    page = person.submit(person.get("/team"), to="/team/find", email=invited.upper())
    assert invited in page.text
    assert forms(page)[-1].action.endswith("/withdraw")


def test_what_an_administrator_invited_ends_with_their_role(partner: Partner) -> None:
    first, second = signed_in(partner), signed_in(partner)
    code = invites(second, partner, role="administrator")
    changes_role(first, second.user.id, "member")
    accepts(partner, code, 400)


def test_an_invitation_is_as_good_as_who_sent_it_last(partner: Partner) -> None:
    first, second = signed_in(partner), signed_in(partner)
    organisation = partner.organisation.id
    alone = invites(second, partner, "administrator")
    renewed = address()
    invites(second, partner, "administrator", renewed)

    async def hide(service: Service) -> str:
        """Have so many invitations that a list shows none of these; return the id of the last."""
        at = service.now()
        store = open_store(service, "test", organisation, at=at, account=True)
        found = await store.select(Invitation, [("organisation", "==", organisation)], limit=10)
        for _ in range(MOST_LISTED):
            store.insert(found[0].model_copy(update={"id": ids.mint(Invitation.prefix, at)}))
        await store.commit()
        return next(each.id for each in found if each.email == renewed)

    shown = dict(forms(first.get("/team"))[0].fields)
    again = f"/team/invitations/{partner.backing.run(hide)}/again"
    assert first.post(again, {"_csrf": shown["_csrf"]}).status_code == 303
    changes_role(first, second.user.id, "member")
    accepts(partner, alone, 400)
    accepts(partner, invitation_code(partner.backing, organisation, renewed))
