"""End users of one front end: what one sees never depends on what another does.

Ada, Grace and their organisation's own server run random programs. What Ada sees (answers, headers,
what is left of her quota, the number of storage verbs) must be what she sees where Grace never was.
The server does things with what is Ada's and with what is nobody's. Tasks and windows are common by
design, so the two live in different areas.
"""

import os
from collections import Counter
from collections.abc import Sequence
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from shared.organisations import EndUserPermission
from shared.settings import Mode
from tests.support.id_tokens import claims
from tests.support.programs import (
    DEEDS,
    PRELUDE,
    Actor,
    Blind,
    Picker,
    Seen,
    Setting,
    Step,
    Who,
    World,
    twin,
    wish_of,
)
from tests.support.serving import Backing
from tests.test_isolation import SECONDS_APART, Worlds, mode, quietly, worlds

__all__ = ["mode", "worlds"]

PROGRAMS = int(os.environ.get("ALLY_PROGRAMS", "20"))
"""Random programs, over both backends and both modes."""
SERVER: Who = "observer"
WHO: tuple[Who, ...] = ("ada", "grace", SERVER)
CLOSED = ("key", "keys", "organisation", "organisations", "request", "requests", "events")
"""What deeds end with that no end user does."""
STEPS = st.builds(
    Step,
    st.sampled_from([*WHO, "ada"]),
    st.sampled_from([deed for deed in DEEDS if not deed.endswith(CLOSED)]),
    st.integers(0, 30),
    st.integers(0, 30),
    st.sampled_from([None, None, "k0", "k1", "k 1"]),
)
Met = str | tuple[Who, int]
"""An id of another's that a step used: whose, and the how manieth; or, of Grace's, one of nothing
that stands in its place."""


class FrontEnd(World):
    """The first organisation of a setting, with its server and two end users."""

    def __init__(self, backing: Backing, setting: Setting) -> None:
        everything = {"endUserPermissions": list(get_args(EndUserPermission))}
        setting.organisations[0] = setting.organisations[0].model_copy(update=everything)
        super().__init__(backing, setting, rate_end_user=8, rate_window=60)
        server = self.actors[SERVER]
        tenant = backing.tenant(server.organisation.id, server.mode)
        at = int(setting.at.timestamp())
        for who in ("ada", "grace"):
            said = claims(tenant, who, server.mode, auth_time=at, iat=at, exp=at + 10**6)
            end_user = Actor(who, server.organisation, server.mode, server.tasks)
            end_user.key = backing.sign(said)
            end_user.ids["task"] = server.ids["task"]
            self.actors[who] = end_user


class Chooser(Picker):
    """Chooses ids for a step, and remembers the `met`: those of others.

    Where Grace is not, those that are `lent` are used in their places. Her objects are left to her
    and to Ada: what the server does with them may not depend on whether she is there.
    """

    def __init__(self, world: World, actor: Actor, lent: Sequence[Met] | None) -> None:
        super().__init__(world, actor, None)
        self.met: list[Met] = []
        self._lent = lent

    def others(self, noun: str, number: int) -> str:
        actors = self._world.actors
        if self._lent is not None:
            lent = self._lent[len(self.met)]
            self.met.append(lent)
            return lent if isinstance(lent, str) else actors[lent[0]].ids[noun][lent[1]]
        graces = self.actor.who != SERVER and noun in ("patient", "appointment")
        known: list[tuple[Who, int]] = [
            (who, index)
            for who in WHO
            for index in range(len(actors[who].ids[noun]))
            if who != self.actor.who and (who != "grace" or graces)
        ]
        if not known:
            self.met.append(self.nothing(noun))
            return self.nothing(noun)
        who, index = known[number % len(known)]
        chosen = actors[who].ids[noun][index]
        self.met.append(chosen if who == "grace" else (who, index))
        return chosen


def run(
    world: World, steps: Sequence[Step], lent: Sequence[list[Met]] | None = None
) -> tuple[list[str], list[Seen], list[list[Met]]]:
    """Run a program, without Grace where ids are lent; return what Ada asked, saw, and all met."""
    asked: list[str] = []
    seen: list[Seen] = []
    met: list[list[Met]] = []
    blind = Blind()
    for number, step in enumerate(steps):
        if lent is not None and step.who == "grace":
            continue
        chooser = Chooser(world, world.actors[step.who], None if lent is None else lent[len(met)])
        wish = wish_of(step, chooser)
        # The server's own keys of replays would remember what it did with Grace's.
        replay_key = None if step.who == SERVER else step.replay_key
        answer = world.act(step.who, wish, number * SECONDS_APART, replay_key)
        if step.who != "grace":
            met.append(chooser.met)
        if step.who == "ada":
            asked.append(blind.text(f"{wish} {replay_key}"))
            seen.append(blind.seen(answer))
    return asked, seen, met


def test_nothing_that_another_end_user_does_is_visible(worlds: Worlds, mode: Mode) -> None:
    statuses: Counter[int] = Counter()
    prelude = [
        Step(who, deed, number, 0, f"k{number}")
        for number, deed in enumerate(PRELUDE)
        for who in WHO
        if deed != "create a key"
    ]

    @quietly(max(1, PROGRAMS // 4))
    @given(st.lists(STEPS, min_size=10, max_size=40))
    def compare(drawn: list[Step]) -> None:
        steps, setting = [*prelude, *drawn], Setting(mode)
        asked, seen, met = run(FrontEnd(worlds[0], setting), steps)
        twins = {each: twin(each) for ids in met for each in ids if isinstance(each, str)}
        lent = [[twins[e] if isinstance(e, str) else e for e in ids] for ids in met]
        again, seen_alone, _ = run(FrontEnd(worlds[1], setting), steps, lent)
        for index, question in enumerate(asked):
            assert again[index] == question
            assert seen[index] == seen_alone[index], question
        statuses.update(each.status for each in seen)

    compare()
    print(f"{mode}: {dict(statuses)}")
    assert {200, 404} <= set(statuses)
