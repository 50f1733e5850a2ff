"""Steps: what steps/*.yaml declares, with this environment's values filled in.

A step of a file has these members; all text is a template, `$name` stands for a value:

- `step`: the sentence that people see.
- `each`: a list of values, such as `functions`: one step for each, whose own values come in too.
- `read`: the gcloud command whose answer is looked at.
- `want`: what must be in that answer (see `infra.comparing`); without it, any answer will do.
- `by`: the name of a member: the answer lists several, and the one that has that of `want` is it.
- `create`: the command where there is no answer, or where `want` is a list and lacks something.
  Without it, what is not there is left alone.
- `update`: the command where the answer differs; without it, `create`.
- `delete`: the command that takes it away again. Where there is none, `make destroy` leaves it.
- `file`: a template's path under infra/, or a value's name. `$file` is where that was written, and
  `$content` what it says as YAML or JSON.
- `known_as`: a word such as `channel`: `{channel}` in later commands is the name that Google chose
  for it. In the step's own commands that, and all that was read, is `{name}` and so on.
- `at_once`: how many of `each` may be made at the same time.
- `tries`: how often a change is attempted, where Google may not know yet what was just made, or
  be busy making others.
- `check`: instead of all that, what is asked of the system at this point (see `infra.checking`).

The commands are gcloud's, without that word: a text, or a list of texts and lists.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import yaml

HERE = Path(__file__).parent
COMMANDS = frozenset({"read", "create", "update", "delete"})
MEMBERS = COMMANDS | {
    *("step", "each", "want", "by", "file", "known_as", "at_once", "tries", "check"),
}

Values = Mapping[str, Any]


class StepError(Exception):
    """A declaration is wrong; the message says where and what."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing that must be there, or one check."""

    name: str
    phase: str
    """The name of its file, without number and ending."""
    read: str = ""
    want: Any = None
    by: str = ""
    create: str = ""
    update: str = ""
    delete: str = ""
    tries: int = 1
    check: str = ""
    known_as: str = ""
    at_once: int = 1
    """How many steps of its declaration may be made at the same time."""


def load(values: Values, files: Path, folder: Path = HERE / "steps") -> Iterator[list[Step]]:
    """Give the declarations in the order of files and lines, each as its steps.

    `files` is a folder for the files that commands read. StepError where a declaration is wrong.
    """
    for path in sorted(folder.glob("*.yaml")):
        phase = path.stem.partition("-")[2]
        for number, declared in enumerate(yaml.safe_load(path.read_text())):
            if unknown := set(declared) - MEMBERS:
                raise StepError(f"{path.name}: a step has no {', '.join(sorted(unknown))}.")
            yield list(_expand(declared, phase, values, files / f"{path.stem}-{number}"))


def _expand(declared: dict[str, Any], phase: str, values: Values, place: Path) -> Iterator[Step]:
    kind = declared.get("each")
    for number, own in enumerate(values[kind] if kind else ({},)):
        filled = {**values, **own}
        if "file" in declared:
            path = place.with_name(f"{place.name}-{number}.yaml")  # as JSON is, too
            text = _content(declared["file"], filled)
            path.write_text(text)
            filled["file"] = path
            if declared.get("want") == "$content":  # others are in no language that we read
                filled["content"] = yaml.safe_load(text)
        try:
            members = fill(declared, filled)
        except KeyError as error:
            raise StepError(f"{declared.get('step')}: there is no value {error}.") from None
        for name in COMMANDS & set(members):
            members[name] = _command(members[name])
        own_members = {
            name: each for name, each in members.items() if name not in ("step", "each", "file")
        }
        yield Step(name=members["step"], phase=phase, **own_members)


def _command(declared: str | list[Any]) -> str:
    return declared if isinstance(declared, str) else " ".join(map(_command, declared))


def _content(file: str, values: Values) -> str:
    if "/" not in file:
        return str(values[file])
    return Template((HERE / file).read_text()).substitute(values)


def fill(declared: Any, values: Values) -> Any:
    """Return a declaration with `$name` replaced in all its text. KeyError for an unknown name.

    A text that is one name alone becomes the value itself, whatever it is.
    """
    match declared:
        case str() if declared.startswith("$") and declared[1:].isidentifier():
            return values[declared[1:]]
        case str():
            return " ".join(Template(declared).substitute(values).split("\n")).strip()
        case list():
            return [fill(each, values) for each in declared]
        case dict():
            return {fill(name, values): fill(each, values) for name, each in declared.items()}
    return declared
