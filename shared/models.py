"""What requests, answers and stored documents are made of: pydantic models and checked types.

A field has one name: on the wire, in Python and in the store (docs/decisions/0006). What comes in
is first arranged (`arrange`: objects, arrays and unset values as the model means them) and then
validated; every problem is found at once. What is stored was checked when it came in, so loading
it again skips the checks that cost time.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from difflib import get_close_matches
from functools import cache
from types import NoneType
from typing import Annotated, Any, ClassVar, Generic, Self, TypeVar, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    create_model,
)

from shared import clock, ids
from shared.errors import ApiError, invalid
from shared.forms import Tree, speakable, wrong
from shared.settings import Mode


class Model(BaseModel):
    """An object of named fields. Texts lose white space at both ends.

    What validates it is built when it is first needed, for a start needs few of all models.
    """

    model_config = ConfigDict(str_strip_whitespace=True, extra="ignore", defer_build=True)


@dataclass(slots=True)
class Intake:
    """What checks may look at: whether the data is real patients', and the time.

    A check that finds something odd but not wrong adds a sentence to `warnings`.
    """

    livemode: bool
    now: datetime
    warnings: list[str]


# --- Types of fields -----------------------------------------------------------------------------

T = TypeVar("T")


def _checked(check: Callable[[T, Intake], T]) -> AfterValidator:
    """Make a validator of a check that runs on what comes in, and not on what is loaded."""

    def run(value: T, info: ValidationInfo) -> T:
        return value if info.context is None else check(value, info.context)

    return AfterValidator(run)


# Control characters, line separators, and marks that turn the direction of what stands around them.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def _printable(value: str, _: Intake) -> str:
    text = value.replace("\r\n", "\n")
    if _UNPRINTABLE.search(text.replace("\n", "").replace("\t", "")):
        raise ValueError("may not contain control characters")
    return text


def _one_line(value: str, _: Intake) -> str:
    if _UNPRINTABLE.search(value):
        raise ValueError("must be one line without control characters")
    return value


def _phone(value: str, intake: Intake) -> str:
    import phonenumbers

    try:
        number = phonenumbers.parse(value, None)
    except phonenumbers.NumberParseException:
        number = None
    if (
        number is None
        or not re.fullmatch(r"\+[1-9][0-9]{6,14}", value)
        or not phonenumbers.is_possible_number(number)
    ):
        raise ValueError("must be a phone number in E.164 form, such as +447700900123")
    # Test mode takes Ofcom's numbers for drama (+44 7700 900000 to 900999), which nobody has.
    if intake.livemode and not phonenumbers.is_valid_number(number):
        raise ValueError("must be a number that is in use: live mode takes no numbers for tests")
    return value


def _email(value: str, _: Intake) -> str:
    import email_validator

    try:
        return email_validator.validate_email(value, check_deliverability=False).normalized
    except email_validator.EmailNotValidError:
        raise ValueError("must be an e-mail address") from None


def _postcode(value: str, _: Intake) -> str:
    from ukpostcodeutils.validation import is_valid_postcode

    compact = re.sub(r"\s+", "", value).upper()
    if not is_valid_postcode(compact):
        raise ValueError("must be a full postcode of the United Kingdom, such as SW1A 1AA")
    return f"{compact[:-3]} {compact[-3:]}"


def _birthday(value: date, intake: Intake) -> date:
    today = clock.london_day(intake.now)
    if value > today:
        raise ValueError("must not be in the future")
    if value < today - timedelta(days=366 * 130):
        raise ValueError("must be within the last 130 years")
    return value


def _nhs_number(value: str, intake: Intake) -> str:
    import nhs_number

    number = nhs_number.standardise_format(value)
    if not number or not nhs_number.is_valid(number):
        raise ValueError("must be a valid NHS number: ten digits, the last a check digit")
    if nhs_number.is_valid(number, nhs_number.REGION_SCOTLAND):
        raise ValueError("is a CHI number of Scotland: send it as chi")
    if nhs_number.is_valid(number, nhs_number.REGION_NORTHERN_IRELAND):
        raise ValueError("is a Health and Care number of Northern Ireland: send it as hsc")
    if number.startswith("999"):
        if intake.livemode:
            raise ValueError("must not be from the range for tests (999) in live mode")
    elif not intake.livemode:
        intake.warnings.append(
            "nhsNumber is outside the range for tests (999): use no real patient in test mode"
        )
    return str(number)


def _regional(region_name: str, sentence: str) -> AfterValidator:
    def check(value: str, _: Intake) -> str:
        import nhs_number

        number = nhs_number.standardise_format(value)
        if not number or not nhs_number.is_valid(number, getattr(nhs_number, region_name)):
            raise ValueError(sentence)
        return str(number)

    return _checked(check)


def _digits(value: object) -> object:
    text = isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,15}", value)
    if not text and type(value) not in (int, NoneType):
        raise ValueError("must be a whole number")
    return value


def _iso_date(value: object) -> object:
    text = isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value)
    if not text and not isinstance(value, date | None):
        raise ValueError("must be a date such as 2026-11-22")
    return value


def _limits(least: int, most: int) -> StringConstraints:
    return StringConstraints(min_length=least, max_length=most)


Line = Annotated[str, _limits(1, 255), _checked(_one_line)]
"""One line of text."""
Name = Annotated[str, _limits(2, 100), _checked(_one_line)]
"""A person's first or last name."""
Note = Annotated[str, _limits(1, 1000), _checked(_printable)]
"""Text of several lines."""
Phone = Annotated[str, _limits(8, 16), _checked(_phone)]
"""A phone number in E.164 form (ITU-T)."""
Email = Annotated[str, _limits(3, 254), _checked(_email)]
Postcode = Annotated[str, _limits(5, 12), _checked(_postcode)]
"""A full postcode (Royal Mail PAF), kept in capitals with one space."""
Day = Annotated[date, BeforeValidator(_iso_date)]
"""A calendar date, ISO 8601."""
Birthday = Annotated[Day, _checked(_birthday)]
NhsNumber = Annotated[str, _checked(_nhs_number)]
"""NHS number of England, Wales and the Isle of Man (NHS Data Dictionary), modulus 11."""
ChiNumber = Annotated[
    str, _regional("REGION_SCOTLAND", "must be a valid CHI number of Scotland: ten digits")
]
HscNumber = Annotated[
    str,
    _regional(
        "REGION_NORTHERN_IRELAND",
        "must be a valid Health and Care number of Northern Ireland: ten digits",
    ),
]
Whole = Annotated[int, BeforeValidator(_digits)]
"""A whole number, also as text."""
Moment = Annotated[datetime, PlainSerializer(clock.isoformat, return_type=str)]
"""A moment that the rules reckon with; written in ISO 8601, UTC, milliseconds."""
Timestamp = str
"""A moment that is only kept and shown: already written as clock.isoformat does."""


def _metadata_size(value: dict[str, str | None], _: Intake) -> dict[str, str | None]:
    if sum(text is not None for text in value.values()) > MOST_METADATA:
        raise ValueError(f"must have at most {MOST_METADATA} keys")
    return value


MOST_METADATA = 50
MetadataKey = Annotated[str, StringConstraints(pattern=r"^[^\[\]]{1,40}$"), _checked(_one_line)]
MetadataText = Annotated[str, StringConstraints(max_length=500), _checked(_printable)]
MetadataChanges = Annotated[dict[MetadataKey, MetadataText | None], _checked(_metadata_size)]
"""The partner's own facts as they are sent: a value of null, or empty, removes its key."""


def merge_metadata(
    old: Mapping[str, str], changes: Mapping[str, str | None] | None
) -> dict[str, str]:
    """Merge metadata: a key without a value is removed, and no changes at all means: remove all."""
    merged = {**old, **changes} if changes is not None else {}
    kept = {name: text for name, text in merged.items() if text is not None}
    if len(kept) > MOST_METADATA:
        reason = f"must have at most {MOST_METADATA} keys, old ones included"
        raise invalid([wrong("metadata", reason)])
    return kept


def _keep_metadata(value: Mapping[str, str | None] | None) -> dict[str, str]:
    return merge_metadata({}, value)


Metadata = Annotated[dict[str, str], BeforeValidator(_keep_metadata)]
"""The partner's own facts as they are kept: texts by name."""


# --- What is stored and returned -----------------------------------------------------------------


class Record(Model):
    """Something that is stored under its id.

    It belongs to one organisation and one mode, unless `account` says that an organisation has it
    once for both, or `shared` names the modes in which it is Ally's own and the same for everyone.
    """

    collection: ClassVar[str]
    prefix: ClassVar[str]
    account: ClassVar[bool] = False
    shared: ClassVar[frozenset[Mode]] = frozenset()
    private: ClassVar[set[str]] = set()
    """Fields that are stored and never shown."""

    id: str

    @classmethod
    def accepts(cls, record_id: str) -> bool:
        """Tell whether a text could be the id of such a record; if not, nothing is read for it."""
        return ids.is_id(cls.prefix, record_id)

    def dump(self) -> dict[str, Any]:
        """Return the document that is stored: JSON values only."""
        return self.model_dump(mode="json")

    @classmethod
    def load(cls, data: dict[str, Any]) -> Self:
        """Make the record of a stored document."""
        return cls.model_validate(data)


class Resource(Record):
    """A record that the API shows. `object` names its kind."""

    object: str
    livemode: bool
    createdAt: Timestamp
    updatedAt: Timestamp

    @classmethod
    def new(cls, *, at: datetime, livemode: bool, **fields: Any) -> Self:
        """Make a resource with an id of its own, created at the moment `at`."""
        written = clock.isoformat(at)
        common = {
            "id": ids.mint(cls.prefix, at),
            "livemode": livemode,
            "createdAt": written,
            "updatedAt": written,
        }
        return cls.model_validate({**common, **fields})


class Deleted(Model):
    """What is left of an object that was deleted."""

    id: str
    object: str
    deleted: bool = True


R = TypeVar("R", bound=Resource)
M = TypeVar("M", bound=Model)


class Changes(Generic[M]):
    """What a caller wants changed: the fields of M that the request named, validated.

    A field that was left out is left alone; an optional one that was sent empty is unset. An object
    (an address, say) is replaced as a whole, since half of an old one and half of a new one would
    lead a practitioner to the wrong door; metadata alone is merged.
    """

    def __init__(self, validated: Model) -> None:
        self.values: dict[str, Any] = {
            name: getattr(validated, name) for name in validated.model_fields_set
        }

    def apply(self, resource: R, at: datetime) -> R:
        """Return the resource as changed at the moment `at`."""
        values: dict[str, Any] = {**self.values, "updatedAt": clock.isoformat(at)}
        if "metadata" in values:
            values["metadata"] = merge_metadata(
                getattr(resource, "metadata", {}), values["metadata"]
            )
        return resource.model_copy(update=values)


@cache
def changes_model(model: type[Model]) -> type[Model]:
    """Return the model of a request that changes a `model`: every field may be left out."""
    fields: dict[str, Any] = {
        name: (Annotated[(info.annotation, *info.metadata, "changed")], None)
        for name, info in model.model_fields.items()
    }
    return create_model(f"{model.__name__}Changes", __base__=model, **fields)


# --- From a tree to a model ----------------------------------------------------------------------


def receive(model: type[M], tree: Tree, intake: Intake, problems: list[ApiError]) -> M | None:
    """Validate what a caller sent; None where something is wrong, which joins the problems."""
    found: list[ApiError] = []
    arranged = arrange(model, tree, "", found)
    named = {problem.param for problem in found}
    received = None
    try:
        received = model.model_validate(arranged, context=intake)
    except ValidationError as error:
        details = (_problem(detail) for detail in error.errors(include_url=False))
        found += [problem for problem in details if problem.param not in named]
    problems += found
    return None if found else received


def arrange(annotation: Any, value: Any, path: str, problems: list[ApiError]) -> Any:
    """Return the value in the shape that a type means, adding what cannot be to the problems.

    An empty text means unset. An object whose members are all numbers is the array that the model
    expects, for a form cannot tell the two apart. A member that the model does not know is a
    problem, with the nearest name that it does know.
    """
    kind = _kind(annotation)
    if (value == "" or value is None) and path:
        return None
    if isinstance(kind, type) and issubclass(kind, Model):
        return _arrange_object(kind, value, path, problems)
    if get_origin(kind) is dict:
        return _arrange_map(value, path, problems)
    if get_origin(kind) is list:
        return _arrange_array(get_args(kind)[0], value, path, problems)
    if isinstance(value, dict | list):
        _refuse(problems, path, "must be one value, given once")
        return None
    return value


def _arrange_object(
    model: type[Model], value: Any, path: str, problems: list[ApiError]
) -> Tree | None:
    if not isinstance(value, dict):
        _refuse(problems, path, "must be one object")
        return None
    arranged = {}
    for name, member in value.items():
        inner = f"{path}[{name}]" if path else name
        info = model.model_fields.get(name)
        if info is None:
            problems.append(_unknown(inner, path, name, model))
            continue
        arranged[name] = arrange(info.annotation, member, inner, problems)
        if arranged[name] is None and info.default is not None and not info.is_required():
            del arranged[name]  # what is unset has its default again
    return arranged


def _arrange_map(value: Any, path: str, problems: list[ApiError]) -> Tree | None:
    if not isinstance(value, dict):
        _refuse(problems, path, "must be an object of texts")
        return None
    for name, member in value.items():
        if isinstance(member, dict | list):
            inner = f"{path}[{name}]"
            known = speakable(inner)
            problems.append(ApiError("metadata_nested", param=known, name=known or "a value"))
    return {name: None if member == "" else member for name, member in value.items()}


def _arrange_array(item: Any, value: Any, path: str, problems: list[ApiError]) -> list[Any]:
    if isinstance(value, dict) and all(re.fullmatch("[0-9]{1,4}", name) for name in value):
        value = [value[name] for name in sorted(value, key=int)]
    elif not isinstance(value, list):
        value = [value]
    return [
        arrange(item, member, f"{path}[{index}]", problems) for index, member in enumerate(value)
    ]


@cache
def _kind(annotation: Any) -> Any:
    """Return the type inside Annotated and Optional."""
    if get_origin(annotation) is Annotated:
        return _kind(get_args(annotation)[0])
    inner = [part for part in get_args(annotation) if part is not NoneType]
    optional = len(inner) < len(get_args(annotation))
    return _kind(inner[0]) if optional and len(inner) == 1 else annotation


def _refuse(problems: list[ApiError], path: str, reason: str) -> None:
    problems.append(wrong(path, reason))


def _unknown(inner: str, path: str, name: str, model: type[Model]) -> ApiError:
    known = speakable(inner)
    near = get_close_matches(name, model.model_fields, n=1)
    meant = (f"{path}[{near[0]}]" if path else near[0]) if near else None
    return ApiError(
        "parameter_unknown",
        param=known,
        name=known or "One name",
        suggestion=f"Did you mean {meant}?" if meant else "Leave it out.",
    )


_SENTENCES: Mapping[str, str] = {
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "is not of the form that is expected",
    "string_type": "must be text",
    "string_unicode": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "model_type": "must be one object",
    "list_type": "must be an array",
    "dict_type": "must be an object of texts",
    "too_long": "must have at most {max_length} members",
}


def _problem(detail: Any) -> ApiError:
    """Turn what pydantic found into a refusal that repeats no value."""
    location = [str(step) for step in detail["loc"] if step != "[key]"]
    path = "".join([*location[:1], *(f"[{step}]" for step in location[1:])])
    name = speakable(path)
    if detail["type"] == "missing" or detail["input"] is None:
        return ApiError("parameter_missing", param=name, name=name or "A parameter")
    facts = detail.get("ctx", {})
    if detail["type"] == "value_error":
        reason = str(facts["error"])
    elif detail["type"].startswith("date"):
        reason = "must be a date such as 2026-11-22"
    else:
        reason = _SENTENCES[detail["type"]].format(**facts)
    return wrong(path, reason)
