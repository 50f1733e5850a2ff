"""Whether what is wanted is in what is there."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any


def difference(want: Any, found: Any, path: str = "it") -> str:
    """Return a sentence that names the first thing that is wanted and not found; else nothing.

    An object is wanted with at least these members. A list is wanted with at least these elements
    in this order, or with no others as `{"exactly": […]}`. A text is wanted as it is or, with `*`
    in it, as a pattern; anything else as it is.
    """
    return next(_differences(want, found, path), "")


def _differences(want: Any, found: Any, path: str) -> Iterator[str]:
    match want:
        case {"exactly": list() as elements} if isinstance(found, list):
            if len(elements) != len(found):
                yield f"{path} is {found!r} and not {elements!r}"
            yield from _differences(elements, found, path)
        case dict() if isinstance(found, dict):
            for name, each in want.items():
                yield from _differences(each, found.get(name), f"{path}.{name}")
        case list() if isinstance(found, list):
            rest = iter(found)
            missing = (each for each in want if not any(_is(each, other) for other in rest))
            yield from (f"{path} lacks {each!r}" for each in missing)
        case _ if not (want == found or _matches(want, found)):
            yield f"{path} is {found!r} and not {want!r}"


def _is(want: Any, found: Any) -> bool:
    return not difference(want, found)


def _matches(want: Any, found: Any) -> bool:
    texts = isinstance(want, str) and isinstance(found, str)
    return texts and "*" in want and fnmatchcase(found, want)
