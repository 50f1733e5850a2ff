"""The checked types of fields: what a name, a postcode or an NHS number may be.

A check runs on what a caller sends. What is stored was checked when it came in, so loading it again
skips the checks that cost time.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    PlainSerializer,
    StringConstraints,
    ValidationInfo,
)

from shared import clock, words
from shared.errors import invalid
from shared.forms import UnfitError, wrong


@dataclass(slots=True)
class Intake:
    """What checks may look at: whether the data is real patients', and the time.

    A check that finds something odd but not wrong adds a sentence to `warnings`.
    """

    livemode: bool
    now: datetime
    warnings: list[str]


T = TypeVar("T")


class Shape:
    """What the documentation says of a type, in members of JSON Schema: examples, a format."""

    __slots__ = ("members",)

    def __init__(self, **members: Any) -> None:
        self.members = members

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        return {**handler(core), **self.members}


def known(values: object) -> Shape:
    """Say which values of a Literal a shown text can have by now; there may be more some day."""
    return Shape(enum=list(get_args(values)))


class _OrNull:
    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        return {"anyOf": [handler(core), {"type": "null"}]}


OR_NULL = _OrNull()
"""Says that a shown field will be null in some objects one day, though it is in none yet: clients
that are made today must bear it."""

# Patterns that only what comes in is held against are texts: re compiles one when it is first used,
# and a start needs none of them.
_PLAIN_LOCAL_PART = r"(?=.{1,64}$)[A-Za-z0-9_+-]+(\.[A-Za-z0-9_+-]+)*"

FIRST_YEAR, LAST_YEAR = 1970, 2390
"""The years that ids can name."""


def checked(check: Callable[[T, Intake], T]) -> AfterValidator:
    """Make a validator of a check that runs on what comes in, and not on what is loaded."""

    def run(value: T, info: ValidationInfo) -> T:
        return value if info.context is None else check(value, info.context)

    return AfterValidator(run)


# Control characters, line separators, marks that turn the direction of what stands around them, and
# halves of characters, which are no text.
_UNPRINTABLE = "[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"


def _printable(value: str, _: Intake) -> str:
    text = value.replace("\r\n", "\n")
    if re.search(_UNPRINTABLE, text.replace("\n", "").replace("\t", "")):
        raise UnfitError("may not contain control characters", "Leave out what cannot be printed.")
    return text


def is_one_line(text: str) -> bool:
    """Tell whether a text is one line that can be printed."""
    return re.search(_UNPRINTABLE, text) is None


def one_line(value: str, _: Intake) -> str:
    """Refuse what is more than a line of printable text."""
    if not is_one_line(value):
        plain = "Write one line, without what cannot be printed."
        raise UnfitError("must be one line without control characters", plain)
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
        raise UnfitError(
            "must be a phone number in E.164 form, such as +447700900123",
            "Begin the phone number with + and its country code, such as +447700900123.",
        )
    # Test mode takes Ofcom's numbers for drama (+44 7700 900000 to 900999), which nobody has.
    if intake.livemode and not phonenumbers.is_valid_number(number):
        raise ValueError("must be a number that is in use: live mode takes no numbers for tests")
    return value


def _email(value: str, _: Intake) -> str:
    import email_validator

    local, domain = value.rpartition("@")[::2]
    try:
        # Nearly all local parts are of the plain form, which stays as it is; domains are few.
        if re.fullmatch(_PLAIN_LOCAL_PART, local):
            return f"{local}@{_domain(domain)}"
        return email_validator.validate_email(value, check_deliverability=False).normalized
    except email_validator.EmailNotValidError:
        raise ValueError("must be an e-mail address") from None


@lru_cache(maxsize=4096)
def _domain(domain: str) -> str:
    """Return the domain of an e-mail address in its normal form."""
    import email_validator

    return email_validator.validate_email(f"a@{domain}", check_deliverability=False).domain


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
        raise UnfitError(
            "is a CHI number of Scotland: send it as chi",
            "This is a CHI number of Scotland, which has a field of its own.",
        )
    if nhs_number.is_valid(number, nhs_number.REGION_NORTHERN_IRELAND):
        raise UnfitError(
            "is a Health and Care number of Northern Ireland: send it as hsc",
            "This is a Health and Care number of Northern Ireland, which has a field of its own.",
        )
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

    return checked(check)


# As browsers write them: in small letters, and without the port that is meant anyway.
_LOCAL_ORIGIN = r"http://localhost(?!:80$)(:[1-9][0-9]{0,4})?"
_ORIGIN = rf"https://[a-z0-9.-]{{1,253}}(?!:443$)(:[1-9][0-9]{{0,4}})?|{_LOCAL_ORIGIN}"


def is_origin(text: str) -> bool:
    """Tell whether a text is an origin as browsers write it: of https, or of their own machine."""
    return re.fullmatch(_ORIGIN, text) is not None


def is_local_origin(text: str) -> bool:
    """Tell whether an origin is that of a page on the reader's own machine."""
    return re.fullmatch(_LOCAL_ORIGIN, text) is not None


def _origin(value: str, _: object) -> str:
    if is_origin(value):
        return value
    raise ValueError("must be an origin such as https://www.example.org, without a path")


def _digits(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON knows one kind of number
    text = str(value) if type(value) is int else value
    if text is not None and not (isinstance(text, str) and re.fullmatch(r"-?[0-9]{1,15}", text)):
        raise ValueError("must be a whole number")
    return value


def _iso_date(value: object) -> object:
    text = isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value)
    if not text and not isinstance(value, date | None):
        raise ValueError("must be a date such as 2026-11-22")
    return value


_ISO_MOMENT = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2}))?"
)


def iso_moment(text: str) -> datetime:
    """Read a moment, in UTC; a day alone is its first. ValueError says what it must be."""
    try:
        if re.fullmatch(_ISO_MOMENT, text):
            moment = datetime.fromisoformat(text)
            moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
            if FIRST_YEAR <= moment.year < LAST_YEAR:
                return moment
    except (ValueError, OverflowError):
        pass
    raise UnfitError(
        "must be a moment such as 2026-11-22T09:30:00Z, or a day",
        "Choose a day and a time.",
    )


def _moment(value: object) -> object:
    return value if isinstance(value, datetime | None) else iso_moment(str(value))


def _limits(least: int, most: int) -> StringConstraints:
    return StringConstraints(min_length=least, max_length=most)


def _findable(value: str, _: Intake) -> str:
    if not 1 <= len(words.normalise(value)) <= words.LONGEST:
        raise ValueError(f"must have 1 to {words.LONGEST} letters or digits")
    return value


_LINE = Shape(format="line")
Line = Annotated[str, _limits(1, 255), checked(one_line), _LINE]
"""One line of text."""
Findable = Annotated[
    Line,
    checked(_findable),
    Shape(description=f"1 to {words.LONGEST} letters or digits."),
]
"""The beginning of a name, from any of its words on."""
Name = Annotated[str, _limits(2, 100), checked(one_line), _LINE]
"""A person's first or last name."""
Origin = Annotated[
    Line, checked(_origin), Shape(format="origin", examples=["https://www.example.org"])
]
"""An origin of a browser (RFC 6454)."""
LONGEST_UID = 128
EndUserId = Annotated[
    str,
    _limits(1, LONGEST_UID),
    checked(one_line),
    Shape(
        format="line",
        description="The uid of the end user in Firebase Authentication.",
        examples=["kD3xN7qUo2aVbR5tYpWz8sLmE1f2"],
    ),
]
"""Who an end user is to a front end: the uid of Firebase Authentication."""
Note = Annotated[
    str,
    _limits(1, 1000),
    checked(_printable),
    Shape(description="It may have several lines.", format="text"),
]
"""Text of several lines."""
Phone = Annotated[
    str,
    _limits(8, 16),
    checked(_phone),
    Shape(
        description="A phone number in E.164 form: + and 7 to 15 digits.",
        format="e164",
        examples=["+447700900123"],
    ),
]
"""A phone number in E.164 form (ITU-T)."""
Email = Annotated[
    str, _limits(3, 254), checked(_email), Shape(format="email", examples=["ada@example.com"])
]
Postcode = Annotated[
    str,
    _limits(5, 12),
    checked(_postcode),
    Shape(
        description="A full postcode of the United Kingdom.",
        format="uk-postcode",
        examples=["SW1A 1AA"],
    ),
]
"""A full postcode (Royal Mail PAF), kept in capitals with one space."""
Day = Annotated[date, BeforeValidator(_iso_date), Shape(examples=["2026-11-23"])]
"""A calendar date, ISO 8601."""
Birthday = Annotated[
    Day,
    checked(_birthday),
    Shape(description="Within the last 130 years.", examples=["1985-12-10"]),
]
NhsNumber = Annotated[
    str,
    checked(_nhs_number),
    Shape(
        description="Ten digits, the last a check digit (modulus 11); in test mode from 999.",
        format="nhs-number",
        examples=["9990000018"],
    ),
]
"""NHS number of England, Wales and the Isle of Man (NHS Data Dictionary), modulus 11."""
ChiNumber = Annotated[
    str,
    _regional("REGION_SCOTLAND", "must be a valid CHI number of Scotland: ten digits"),
    Shape(description="Ten digits.", format="chi-number", examples=["1202302483"]),
]
HscNumber = Annotated[
    str,
    _regional(
        "REGION_NORTHERN_IRELAND",
        "must be a valid Health and Care number of Northern Ireland: ten digits",
    ),
    Shape(description="Ten digits.", format="hsc-number", examples=["3200000007"]),
]
Whole = Annotated[int, BeforeValidator(_digits)]
"""A whole number of up to 15 digits, also as text."""
_SHOWN = Shape(type="string", format="date-time", examples=["2026-11-22T09:30:00.000Z"])
Moment = Annotated[datetime, PlainSerializer(clock.isoformat, return_type=str), _SHOWN]
"""A moment that the rules reckon with; written in ISO 8601, UTC, milliseconds."""
When = Annotated[
    Moment,
    BeforeValidator(_moment),
    Shape(
        description="ISO 8601 with an offset, or a day alone.",
        format="moment",
        examples=["2099-12-31T23:59:00Z"],
    ),
]
"""A moment as a caller sends it: ISO 8601 with an offset, or a day."""
Timestamp = Annotated[str, _SHOWN]
"""A moment that is only kept and shown: already written as clock.isoformat does."""

MOST_METADATA = 50
LONGEST_KEY = 40


def _metadata_size(value: dict[str, str | None], _: Intake) -> dict[str, str | None]:
    if sum(text is not None for text in value.values()) > MOST_METADATA:
        plain = f"There can be at most {MOST_METADATA} of them."
        raise UnfitError(f"must have at most {MOST_METADATA} keys", plain)
    return value


def _metadata_key(value: str, _: Intake) -> str:
    if not 1 <= len(value) <= LONGEST_KEY or re.search(r"[\[\]]", value):
        raise UnfitError(
            f"takes keys of 1 to {LONGEST_KEY} characters, without brackets",
            f"Write 1 to {LONGEST_KEY} characters, without brackets.",
        )
    return value


Metadata = dict[str, str]
"""The partner's own facts as they are kept: texts by name."""
MetadataKey = Annotated[str, checked(one_line), checked(_metadata_key)]
MetadataText = Annotated[
    str, StringConstraints(max_length=500), checked(_printable), Shape(format="text")
]
MetadataChanges = Annotated[
    dict[MetadataKey, MetadataText | None],
    checked(_metadata_size),
    Shape(
        maxProperties=MOST_METADATA,
        propertyNames={"pattern": rf"^[^\[\]]{{1,{LONGEST_KEY}}}$", "format": "line"},
        examples=[{"ward": "7B"}],
    ),
]
"""The partner's own facts as they are sent: a value of null, or empty, removes its key."""


def merge_metadata(
    old: Mapping[str, str], changes: Mapping[str, str | None] | None
) -> dict[str, str]:
    """Merge metadata: a key without a value is removed, and no changes at all means: remove all."""
    merged = {**old, **changes} if changes is not None else {}
    kept = {name: text for name, text in merged.items() if text is not None}
    if len(kept) > MOST_METADATA:
        reason = f"must have at most {MOST_METADATA} keys, old ones included"
        plain = f"There can be at most {MOST_METADATA} of them."
        raise invalid([wrong("metadata", reason, plain)])
    return kept
