"""Tenancy and mode isolation: what one does is never visible to another.

Two organisations, each in both modes, run random programs. What the observer sees of them (answers,
headers, counts, how much is left of its rate limit, and the number of storage verbs as the class of
the time that an answer takes) must be what it sees when it is alone in the world.

Two things are common by design and left out: an organisation itself, which is one in both modes,
and the windows of live mode, which are everybody's supply (each organisation lives in an area of
its own).
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from functions import discover
from shared.routes import PUBLIC
from shared.settings import Mode
from tests.conftest import BACKENDS, environment_of
from tests.support.programs import (
    DEEDS,
    LOGS,
    PRELUDE,
    Actor,
    Blind,
    Picker,
    Seen,
    Setting,
    Step,
    Who,
    Wish,
    World,
    twin,
    wish_of,
)
from tests.support.serving import PATIENT, PREFIXES, REASON, TEXTS, Backing

PROGRAMS = int(os.environ.get("ALLY_PROGRAMS", "20"))
"""Random programs for each test, over both backends and both modes."""
SECONDS_APART = 4
QUOTA = {"rate_test": 12, "rate_live": 10, "rate_window": 60}
"""So few that a program meets the end of them: one request in four seconds is more."""
WHO: tuple[Who, ...] = ("observer", "sibling", "stranger", "far stranger")

STEPS = st.builds(
    Step,
    st.sampled_from([*WHO, "observer"]),
    st.sampled_from(list(DEEDS)),
    st.integers(0, 30),
    st.integers(0, 30),
    st.sampled_from([None, None, "k0", "k1", "k2"]),
)
ROUTES = [
    route
    for api in discover()
    if api.reachable
    for route in api.routes
    if route.permission != PUBLIC
]
Worlds = tuple[Backing, Backing]


@pytest.fixture(scope="module", params=BACKENDS)
def worlds(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Worlds]:
    """Two backings of one kind: for the same program with others in the world, and without."""
    crowded, lonely = (
        Backing(environment_of(request, tmp_path_factory.mktemp(name)))
        for name in ("crowded", "lonely")
    )
    yield crowded, lonely
    crowded.close()
    lonely.close()


@pytest.fixture(params=["test", "live"])
def mode(request: pytest.FixtureRequest) -> Mode:
    """The mode of the observer."""
    chosen: Mode = request.param
    return chosen


def programs(steps: st.SearchStrategy[list[Step]]) -> st.SearchStrategy[list[Step]]:
    """Return programs that begin with everybody making something of each kind."""
    prelude = [
        Step(who, deed, number, 0, f"k{number}")
        for number, deed in enumerate(PRELUDE)
        for who in reversed(WHO)
    ]
    return steps.map(lambda drawn: [*prelude, *drawn])


def quietly(share: int) -> settings:
    return settings(
        max_examples=share,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def run(
    world: World, steps: Sequence[Step], lent: Sequence[list[str]] | None = None
) -> tuple[list[str], list[Seen], list[list[str]]]:
    """Run a program; return what the observer asked and saw, and whose ids it used.

    Where ids are `lent` the observer is alone, and uses those in the place of others'.
    """
    asked: list[str] = []
    seen: list[Seen] = []
    used: list[list[str]] = []
    blind = Blind()
    for number, step in enumerate(steps):
        if lent is not None and step.who != "observer":
            continue
        if step.who == "sibling" and step.deed == "update an organisation":
            continue
        others = None if lent is None or step.who != "observer" else list(lent[len(used)])
        pick = Picker(world, world.actors[step.who], others)
        wish = wish_of(step, pick)
        if wish.path.startswith(LOGS):
            world.fold()
        answer = world.act(step.who, wish, number * SECONDS_APART, step.replay_key)
        if step.who == "observer":
            asked.append(blind.text(f"{wish} {step.replay_key}"))
            seen.append(blind.seen(answer))
            used.append(pick.used)
    return asked, seen, used


def test_nothing_that_others_do_is_visible(worlds: Worlds, mode: Mode) -> None:
    """Same program, with others in the world and without them: the observer sees the same."""
    statuses: Counter[int] = Counter()

    @quietly(PROGRAMS // 4)
    @given(programs(st.lists(STEPS, min_size=10, max_size=40)))
    def compare(steps: list[Step]) -> None:
        setting = Setting(mode)
        asked, seen, used = run(World(worlds[0], setting, **QUOTA), steps)
        twins = {each: twin(each) for ids in used for each in ids}
        lent = [[twins[each] for each in ids] for ids in used]
        again, seen_alone, _ = run(World(worlds[1], setting, **QUOTA), steps, lent)
        for index, question in enumerate(asked):
            assert again[index] == question
            assert seen[index] == seen_alone[index], question
        statuses.update(each.status for each in seen)

    compare()
    print(f"{mode}: {dict(statuses)}")
    assert {200, 404} <= set(statuses)


# --- Ids of others -------------------------------------------------------------------------------


def places(actor: Actor, noun: str, object_id: str) -> Iterator[Wish]:
    """Yield requests that name an id of a kind, in every place where a request can name one."""
    bodies = {"cancel": REASON, "reschedule": {"windowId": f"win_{'0' * 22}"}}
    for route in ROUTES:
        found = re.findall(r"\{(\w+)\}", route.template)
        assert set(found) <= PREFIXES.keys() | TEXTS.keys(), (
            "say in PREFIXES what the ids begin with"
        )
        if found == [noun]:
            body = bodies.get(route.template.rpartition("/")[2], {})
            path = route.template.replace(f"{{{noun}}}", object_id)
            yield Wish(route.method, path, body=body if route.method in ("POST", "PATCH") else None)
    yield from places_of_logs(noun, object_id)
    path = "/v1/availability" if noun == "window" else f"/v1/{noun}s"
    place = {"taskId": actor.ids["task"][0], "postcode": actor.postcode}
    for cursor in ("starting_after", "ending_before"):
        yield Wish("GET", path, {cursor: object_id, **(place if noun == "window" else {})})
        if noun == "patient":
            body = {cursor: object_id, "phone": PATIENT["phone"]}
            yield Wish("POST", "/v1/patients/search", body=body)
    if noun == "patient":
        yield Wish("GET", "/v1/appointments", {"patientId": object_id})
        yield Wish("GET", "/v1/appointments", {"filter": f'patient.id:"{object_id}"'})
        yield Wish("GET", "/v1/appointments", {"externalRef": object_id})
    if noun == "task":
        yield Wish("GET", "/v1/availability", {**place, "taskId": object_id})
        yield Wish("GET", "/v1/coverage", {**place, "taskId": object_id})
    if noun == "window":
        appointment = actor.ids["appointment"][0]
        moved = {"windowId": object_id}
        yield Wish("POST", f"/v1/appointments/{appointment}/reschedule", body=moved)
    if noun in ("patient", "task", "window"):
        own = {f"{name}Id": actor.ids[name][0] for name in ("patient", "task", "window")}
        own[f"{noun}Id"] = object_id
        details = {"phone": PATIENT["phone"], "location": actor.location}
        yield Wish("POST", "/v1/appointments", body={**own, **details})


def places_of_logs(noun: str, object_id: str) -> Iterator[Wish]:
    """Yield requests for logs that name an id of a kind."""
    if noun == "patient":
        yield Wish("GET", "/v1/audit_events", {"patientId": object_id})
    if noun == "api_key":
        for log in LOGS:
            yield Wish("GET", log, {"principal": object_id})
    if noun == "request":
        for cursor in ("starting_after", "ending_before"):
            yield Wish("GET", "/v1/audit_events", {cursor: object_id.replace("req_", "aud_")})


def foreign(world: World) -> Iterator[tuple[str, str]]:
    """Yield the kinds and ids of everything that others have, and the observer does not see."""
    observer = world.actors["observer"]
    for actor in world.actors.values():
        for noun in PREFIXES:
            ours = actor.organisation.id == observer.organisation.id
            if actor is observer or (noun == "organisation" and ours):
                continue
            # In live mode a window is everybody's, and test mode's are not met there.
            if noun == "window" and "live" in (actor.mode, observer.mode):
                continue
            for object_id in actor.ids[noun][-2:]:
                yield noun, object_id


def test_an_id_of_anothers_or_of_the_other_mode_is_like_one_of_nothing(
    worlds: Worlds, mode: Mode
) -> None:
    """Wherever it stands: the same answer but for the id, after the same storage verbs."""
    statuses: Counter[int] = Counter()

    @quietly(max(1, PROGRAMS // 20))
    @given(programs(st.lists(STEPS, max_size=20)))
    def present(steps: list[Step]) -> None:
        world = World(worlds[0], Setting(mode))
        run(world, steps)
        world.fold()
        seconds = len(steps) * SECONDS_APART
        observer = world.actors["observer"]
        world.act("observer", Wish("GET", "/v1/tasks"), seconds)  # its key is known from here on
        met = list(foreign(world))
        assert {noun for noun, _ in met} >= PREFIXES.keys() - {"window"}
        for noun, object_id in met:
            nothing = twin(object_id)
            for wish, other in zip(
                places(observer, noun, object_id), places(observer, noun, nothing), strict=True
            ):
                theirs = sight(world, wish, seconds, object_id)
                assert theirs == sight(world, other, seconds, nothing), wish
                # 402: the observer's own appointment, cancelled before, goes to no window at all.
                assert theirs.status in (200, 402, 404)
                statuses[theirs.status] += 1

    present()
    print(f"{mode}: {dict(statuses)}")
    assert {200, 404} <= statuses.keys()


def sight(world: World, wish: Wish, seconds: float, object_id: str) -> Seen:
    """Return what the observer sees, but for an id, the request's id and what is left to it."""
    seen = Blind().seen(world.act("observer", wish, seconds))
    headers = [pair for pair in seen.headers if pair[0] not in ("ratelimit", "request-id")]
    return seen._replace(headers=headers, body=seen.body.replace(object_id, "(the id)"))
