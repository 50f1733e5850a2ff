"""Is what is wanted in what is there?"""

from fnmatch import fnmatchcase
from typing import Any


def difference(want: Any, found: Any, path: str = "") -> str:
    """Return a sentence that names the first thing that is wanted and not found; else nothing.

    An object is wanted with at least these members; a list with at least these elements in this
    order, or with no others as `{"exactly": […]}`; a text as it is or, with `*` in it, as a pattern;
    anything else as it is.
    """
    here = path or "it"
    match want:
        case {"exactly": list() as wanted, **rest} if not rest:
            if not isinstance(found, list) or len(found) != len(wanted):
                return _differs(here, wanted, found)
            return difference(wanted, found, path)
        case dict():
            if not isinstance(found, dict):
                return f"{here} is missing" if found is None else f"{here} is {found!r}"
            pairs = ((each, found.get(name), name) for name, each in want.items())
            told = (
                difference(each, value, f"{path}.{name}".lstrip(".")) for each, value, name in pairs
            )
            return next(filter(None, told), "")
        case list():
            rest = iter(found if isinstance(found, list) else ())
            for each in want:
                if all(difference(each, value) for value in rest):
                    return f"{here} lacks {each!r}"
            return ""
        case str() if isinstance(found, str) and "*" in want:
            return "" if want == found or fnmatchcase(found, want) else _differs(here, want, found)
    return "" if want == found else _differs(here, want, found)


def _differs(here: str, want: Any, found: Any) -> str:
    return f"{here} is {found!r} and not {want!r}"
