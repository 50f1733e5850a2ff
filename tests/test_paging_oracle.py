"""Pages against an oracle: a list in memory that is filtered and cut by hand.

Patients are created, renamed and deleted also between the pages of a walk, many of them in the same
microsecond, by a clock that goes back and forth as those of two instances do.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.provision import create_organisation
from tests.support.inprocess import InProcess
from tests.support.scale import examples
from tests.support.serving import PATIENT, Backing, Json

START = datetime(2027, 3, 1, 9, tzinfo=UTC)
LOWEST, HIGHEST = "p_" + "0" * 22, "p_" + "z" * 22
DEFAULT_LIMIT = 10

# Microseconds since START: at milliseconds, between them, and just around them.
MOMENTS = (0, 1, 499, 999, 1000, 1001, 1999, 2000, 2001, 3_000_000)
REFERENCES = (
    None,
    "A-17",
    "a-17",
    'say "aye"',
    "back\\slash",
    'x" and externalRef:"A-17',
    "Zoë +&=%",
)
NAMES = (
    ("Zoë", "Ångström", "zoe angstrom"),
    ("Anne-Marie", "O\u2019Brien", "anne marie obrien"),
    ("Mary Anne", "van der Berg", "mary anne van der berg"),
    ("ANNE", "Bergmann", "anne bergmann"),
    ("Иван", "Петров", "иван петров"),
)
"""First and last names, and what is left of them without accents, capitals and marks."""
SOUGHT = (
    "zoe",
    "ZO",
    "Ångstr",
    "anne",
    "Anne Berg",
    "o'b",
    "obrien anne",
    "berg",
    "van d",
    "ПЕТ",
    "x",
)
PLAIN = {"ZO": "zo", "Ångstr": "angstr", "Anne Berg": "anne berg", "o'b": "ob", "ПЕТ": "пет"}


@dataclass(frozen=True)
class Member:
    """A patient as the oracle knows it; times are microseconds since START."""

    id: str
    created: int
    updated: int
    reference: str | None
    name: str

    @property
    def turned(self) -> Iterator[str]:
        """The name, read from each of its words on."""
        words = self.name.split()
        for first in range(len(words)):
            yield " ".join(words[first:] + words[:first])


class Wanted(NamedTuple):
    """One thing that is asked of a list: as parameters, as a term of `filter`, and as a test."""

    params: Json
    term: str
    matches: Callable[[Member], bool]


def milliseconds(micros: int) -> int:
    """Return a time as the API shows it, in microseconds."""
    return micros // 1000 * 1000


COMPARED: dict[str, Callable[[int, int], bool]] = {
    ">": lambda shown, moment: shown > moment,
    ">=": lambda shown, moment: shown >= moment,
    "<": lambda shown, moment: shown < moment,
    "<=": lambda shown, moment: shown <= moment,
    ":": lambda shown, moment: shown == moment,
}
SUFFIXES = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}


def moment(micros: int) -> str:
    return (START + timedelta(microseconds=micros)).isoformat(timespec="microseconds")


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def created_in_a_range(operator: str, micros: int) -> Wanted:
    return Wanted(
        {f"createdAt[{SUFFIXES[operator]}]": moment(micros)},
        "",
        lambda member: COMPARED[operator](milliseconds(member.created), micros),
    )


def compared(name: str, operator: str, micros: int) -> Wanted:
    return Wanted(
        {},
        f"{name}{operator}{quoted(moment(micros))}",
        lambda member: COMPARED[operator](
            milliseconds(member.created if name == "createdAt" else member.updated), micros
        ),
    )


def referred_to(reference: str, *, by_filter: bool) -> Wanted:
    def matches(member: Member) -> bool:
        return member.reference == reference

    if by_filter:
        return Wanted({}, f"externalRef:{quoted(reference)}", matches)
    return Wanted({"externalRef": reference}, "", matches)


def named(sought: str, *, whole: bool) -> Wanted:
    plain = PLAIN.get(sought, sought)
    if whole:
        return Wanted({}, f"name : {quoted(sought)}", lambda member: member.name == plain)
    return Wanted(
        {},
        f"name~{quoted(sought)}",
        lambda member: any(each.startswith(plain) for each in member.turned),
    )


moments = st.sampled_from(MOMENTS)
references = st.sampled_from(REFERENCES)
wishes = st.one_of(
    st.builds(created_in_a_range, st.sampled_from(sorted(SUFFIXES)), moments),
    st.builds(
        compared,
        st.sampled_from(["createdAt", "updatedAt"]),
        st.sampled_from(sorted(COMPARED)),
        moments,
    ),
    st.builds(
        referred_to,
        st.sampled_from([each for each in REFERENCES if each]),
        by_filter=st.booleans(),
    ),
    st.builds(
        named, st.sampled_from([*SOUGHT, *(name for _, _, name in NAMES)]), whole=st.booleans()
    ),
)


class Insert(NamedTuple):
    """A patient that is created."""

    at: int
    reference: str | None
    name: tuple[str, str, str]


class Rename(NamedTuple):
    """A patient who gets another name; `which` counts through those that there are."""

    at: int
    which: int
    name: tuple[str, str, str]


class Remove(NamedTuple):
    """A patient who is deleted."""

    which: int


Edit = Insert | Rename | Remove
counted = st.integers(0, 30)
inserts = st.builds(Insert, moments, references, st.sampled_from(NAMES))
edits = st.one_of(
    inserts, st.builds(Rename, moments, counted, st.sampled_from(NAMES)), st.builds(Remove, counted)
)


class Walk(NamedTuple):
    """A walk through a list: which way, from where, by what steps, and what happens meanwhile.

    `begin` counts through all ids that there ever were; none means from the very end.
    """

    backwards: bool
    begin: int | None
    limits: list[int | None]
    wishes: list[Wanted]
    meanwhile: list[list[Edit]]
    by_search: bool


walks = st.builds(
    Walk,
    backwards=st.booleans(),
    begin=st.none() | counted,
    limits=st.lists(st.sampled_from([1, 2, 3, 5, 100, None]), min_size=1, max_size=3),
    wishes=st.lists(wishes, max_size=2),
    meanwhile=st.lists(st.lists(edits, max_size=2), max_size=4),
    by_search=st.booleans(),
)


@dataclass
class World:
    """An organisation with a list of patients, and the oracle's list beside it."""

    api: InProcess
    members: dict[str, Member] = field(default_factory=dict)
    ever: list[str] = field(default_factory=list)

    def do(self, edit: Edit) -> None:
        """Change both lists."""
        match edit:
            case Insert(at, reference, (first, last, plain)):
                self.api.at = START + timedelta(microseconds=at)
                body = {"firstName": first, "lastName": last, "externalRef": reference}
                made = self.api.call("POST", "/v1/patients", json={**PATIENT, **body})["id"]
                assert made not in self.ever
                self.ever.append(made)
                self.members[made] = Member(made, at, at, reference, plain)
            case Rename(at, which, (first, last, plain)) if self.members:
                chosen = self._one(which)
                self.api.at = START + timedelta(microseconds=at)
                body = {"firstName": first, "lastName": last}
                self.api.call("POST", f"/v1/patients/{chosen}", json=body)
                self.members[chosen] = replace(self.members[chosen], updated=at, name=plain)
            case Remove(which) if self.members:
                chosen = self._one(which)
                self.api.call("DELETE", f"/v1/patients/{chosen}")
                del self.members[chosen]

    def _one(self, which: int) -> str:
        return sorted(self.members)[which % len(self.members)]

    def matching(self, wanted: Iterable[Wanted]) -> list[str]:
        """Return the ids that a list should have, the newest first."""
        wishes = list(wanted)
        found = [
            member.id
            for member in self.members.values()
            if all(wish.matches(member) for wish in wishes)
        ]
        return sorted(found, reverse=True)

    def ask(self, walk: Walk, page: Json) -> Json:
        """Ask for a page, in the URL or by the search."""
        params: Json = {name: value for wish in walk.wishes for name, value in wish.params.items()}
        terms = [wish.term for wish in walk.wishes if wish.term]
        if terms:
            params["filter"] = " and ".join(terms)
        params |= page
        if walk.by_search:
            return self.api.call("POST", "/v1/patients/search", data=params)
        return self.api.call("GET", "/v1/patients", params=params)


def agreeable(wanted: list[Wanted]) -> bool:
    """Tell whether one request can ask for all of this: each parameter once, one name."""
    names = [name for wish in wanted for name in wish.params]
    return len(names) == len(set(names)) and sum("name" in wish.term for wish in wanted) < 2


def take(world: World, walk: Walk) -> None:
    """Walk through the list, and hold every page against the oracle's."""
    cursor = None
    if walk.begin is not None and world.ever:
        cursor = world.ever[walk.begin % len(world.ever)]
    elif walk.backwards:
        cursor = LOWEST
    limits, meanwhile = cycle(walk.limits), iter(walk.meanwhile)
    begun_at = cursor or HIGHEST
    steady = {each for each in world.matching(walk.wishes) if _beyond(each, begun_at, walk)}
    seen: list[str] = []
    while True:
        limit = next(limits)
        page: Json = {} if limit is None else {"limit": limit}
        if cursor is not None:
            page["ending_before" if walk.backwards else "starting_after"] = cursor
        listed = world.ask(walk, page)
        found = [each["id"] for each in listed["data"]]

        left = [each for each in world.matching(walk.wishes) if _beyond(each, cursor, walk)]
        size = limit or DEFAULT_LIMIT
        assert found == (left[-size:] if walk.backwards else left[:size])
        assert listed["has_more"] == (len(left) > size)
        times = [each["createdAt"] for each in listed["data"]]
        assert times == sorted(times, reverse=True)

        seen += found[::-1] if walk.backwards else found
        if not listed["has_more"]:
            break
        cursor = found[0] if walk.backwards else found[-1]
        for edit in next(meanwhile, []):
            world.do(edit)
            steady &= set(world.matching(walk.wishes))
    assert len(seen) == len(set(seen))
    assert steady <= set(seen)


def _beyond(member: str, cursor: str | None, walk: Walk) -> bool:
    if cursor is None:
        return True
    return member > cursor if walk.backwards else member < cursor


def empty_world(backing: Backing) -> World:
    _, key = backing.run(lambda service: create_organisation(service, "Oracle Health"))
    return World(InProcess(backing, key.secret))


@settings(max_examples=examples(80))
@given(
    first=st.lists(inserts, min_size=3, max_size=16), rounds=st.lists(walks, min_size=1, max_size=3)
)
def test_a_walk_skips_nothing_repeats_nothing_and_knows_where_it_ends(
    backing: Backing, first: list[Insert], rounds: list[Walk]
) -> None:
    world = empty_world(backing)
    for insert in first:
        world.do(insert)
    for walk in rounds:
        kept = walk.wishes if agreeable(walk.wishes) else walk.wishes[:1]
        take(world, walk._replace(wishes=kept))


@settings(max_examples=examples(2))
@given(
    many=st.lists(inserts, min_size=12, max_size=12 + examples(4)),
    gone=st.sets(counted, max_size=8),
)
def test_every_limit_and_every_cursor_in_both_directions_gives_the_oracles_page(
    backing: Backing, many: list[Insert], gone: set[int]
) -> None:
    world = empty_world(backing)
    for insert in many:
        world.do(insert)
    for which in gone:
        world.do(Remove(which))
    everything = world.matching([])
    for cursor in [LOWEST, HIGHEST, *world.ever]:
        older = [each for each in everything if each < cursor]
        newer = [each for each in everything if each > cursor]
        for limit in {1, 2, max(1, len(older)), max(1, len(older) - 1), len(newer) + 1}:
            for name, beyond in (("starting_after", older), ("ending_before", newer)):
                listed = world.api.call(
                    "GET", "/v1/patients", params={"limit": limit, name: cursor}
                )
                cut = beyond[:limit] if name == "starting_after" else beyond[-limit:]
                assert [each["id"] for each in listed["data"]] == cut
                assert listed["has_more"] == (len(beyond) > limit)


@settings(max_examples=examples(40))
@given(many=st.lists(inserts, min_size=4, max_size=8), wish=wishes)
def test_what_is_asked_in_a_url_and_in_a_search_is_found_alike(
    backing: Backing, many: list[Insert], wish: Wanted
) -> None:
    world = empty_world(backing)
    for insert in many:
        world.do(insert)
    walk: dict[str, Any] = {"backwards": False, "begin": None, "limits": [100], "meanwhile": []}
    pages = [
        world.ask(Walk(**walk, wishes=[wish], by_search=way), {"limit": 100})
        for way in (False, True)
    ]
    assert [each["id"] for each in pages[0]["data"]] == world.matching([wish])
    assert pages[0]["data"] == pages[1]["data"]
