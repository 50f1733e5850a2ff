"""Making the project what steps/ declares, or only saying what would be done."""

import re
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Any, Literal

from infra.comparing import difference
from infra.gcloud import PASSING, GcloudError, gcloud, read
from infra.steps import Step

PAUSE = 10
"""Seconds between two attempts where what is in the way passes by itself."""

Verb = Literal["create", "update", "delete"]
Check = Callable[["Run"], Iterable[str]]
"""Asks something of the system and tells what it saw; StoppedError where that is not well."""
SIGNS: Mapping[Verb, str] = {"create": "+", "update": "~", "delete": "-"}


class StoppedError(Exception):
    """A step failed; the message says which, why, and what to do."""


@dataclass(frozen=True)
class Change:
    """What a step is about to do, and why."""

    step: Step
    verb: Verb
    reason: str
    found: Any
    """What was read before."""
    known: Mapping[str, str]
    """The names that Google chose for what earlier steps made."""

    @property
    def command(self) -> str:
        """The gcloud command, without that word."""
        commands = {"create": self.step.create, "delete": self.step.delete}
        command = commands.get(self.verb) or self.step.update or self.step.create
        own = self.found if isinstance(self.found, dict) else {}
        names = {**self.known, **own}
        return re.sub(r"\{(\w+)\}", lambda found: str(names.get(found[1], found[0])), command)


@dataclass
class Run:
    """One run over the steps: what was read, what was changed."""

    checks: Mapping[str, Check]
    say: Callable[[str], object] = print
    seen: dict[str, Any] = field(default_factory=dict)
    known: dict[str, str] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    steps: int = 0
    reading: dict[str, Lock] = field(default_factory=partial(defaultdict, Lock))

    def plan(self, declarations: Iterable[list[Step]], phases: Collection[str] = ()) -> None:
        """Say what would change, each as the command that would be run. Change nothing."""
        for steps in self._chosen(declarations, phases):
            if steps[0].check:
                self.say(f"  ? {steps[0].name}")
                continue
            for change in filter(None, _all(self._change, steps)):
                self.changes.append(change)
                self.say(f"{SIGNS[change.verb]} {change.step.name}: {change.reason}")
                self.say(f"    gcloud {change.command}")
        self.say(f"{len(self.changes)} of {self.steps} steps would change something.")

    def deploy(self, declarations: Iterable[list[Step]], phases: Collection[str] = ()) -> None:
        """Make each step so, in order. StoppedError where one fails; what was made stays made."""
        for steps in self._chosen(declarations, phases):
            if steps[0].check:
                self._ask(steps[0])
                continue
            for change in filter(None, _all(self._make, steps)):
                self.changes.append(change)
                self.seen.pop(change.step.read, None)  # what later steps read is read anew
            for step in steps:
                if step.known_as:
                    self._read(step)
        self.say(f"{len(self.changes)} of {self.steps} steps changed something.")

    def destroy(self, declarations: Iterable[list[Step]]) -> None:
        """Take away what steps may take away, the last first."""
        for steps in reversed(list(self._chosen(declarations, ()))):
            for step in steps:
                found = self._read(step) if step.delete else None
                if found is not None:
                    change = Change(step, "delete", "it is to go", found, self.known)
                    self._execute(change)
                    self.changes.append(change)
        self.say(f"{len(self.changes)} things were taken away. Data, keys and logs were left.")

    def _chosen(
        self, declarations: Iterable[list[Step]], phases: Collection[str]
    ) -> Iterable[list[Step]]:
        phase = ""
        for steps in declarations:
            if not steps or (phases and steps[0].phase not in phases):
                continue
            if steps[0].phase != phase:
                phase = steps[0].phase
                self.say(f"# {phase}")
            self.steps += len(steps)
            yield steps

    def _read(self, step: Step) -> Any:
        """Return what is there; None where it is not."""
        found = self._answer(step)
        if step.by:
            named = step.want[step.by]
            found = next((each for each in found or () if each.get(step.by) == named), None)
        if step.known_as and found is not None:
            self.known[step.known_as] = found["name"]
        return found

    def _answer(self, step: Step) -> Any:
        """Return what its command answers. Lists that many steps look at are read once."""
        with self.reading[step.read]:
            if step.read not in self.seen:
                try:
                    self.seen[step.read] = read(step.read)
                except GcloudError as error:
                    raise _stopped(step, str(error)) from None
            return self.seen[step.read]

    def _change(self, step: Step) -> Change | None:
        found = self._read(step)
        if found is None:
            made = Change(step, "create", "it is not there", found, self.known)
            return made if step.create else None
        why = difference(step.want, found) if step.want is not None else ""
        if not why:
            return None
        verb: Verb = "create" if isinstance(step.want, list) else "update"
        return Change(step, verb, why, found, self.known)

    def _make(self, step: Step) -> Change | None:
        change = self._change(step)
        if change:
            self._execute(change)
        return change

    def _execute(self, change: Change) -> None:
        step = change.step
        self.say(f"{SIGNS[change.verb]} {step.name}")
        for left in reversed(range(step.tries)):
            try:
                gcloud(change.command)
            except GcloudError as error:
                if not left or not PASSING.search(str(error)):
                    raise _stopped(step, str(error)) from None
                self.say(f"    not yet ({_last_line(error)}); again in {PAUSE} s")
                time.sleep(PAUSE)
            else:
                return

    def _ask(self, step: Step) -> None:
        self.say(f"? {step.name}")
        try:
            for line in self.checks[step.check](self):
                self.say(f"    {line}")
        except GcloudError as error:
            raise _stopped(step, str(error)) from None


def _all(do: Callable[[Step], Change | None], steps: list[Step]) -> list[Change | None]:
    """Do something with each step, as many at once as they say. The first failure ends it."""
    with ThreadPoolExecutor(steps[0].at_once) as pool:
        try:
            return list(pool.map(do, steps))
        except StoppedError:
            pool.shutdown(cancel_futures=True)
            raise


def _stopped(step: Step, said: str) -> StoppedError:
    return StoppedError(
        f"Stopped at: {step.name}\n{said}\n"
        "What was made before stays. Mend what it says, then run the same again: it goes on here."
    )


def _last_line(error: GcloudError) -> str:
    return str(error).splitlines()[-1]
