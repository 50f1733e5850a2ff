"""The checked types of fields, against what checks them when nothing is remembered."""

from datetime import UTC, datetime, timedelta, timezone

import email_validator
from hypothesis import example, given
from hypothesis import strategies as st

from shared import clock, ids, words
from shared.fields import Email, Intake
from shared.models import Model
from shared.receiving import receive

PIECE = st.text(st.sampled_from("aZ09+_-.'@ é\"("), min_size=0, max_size=12)
DOMAIN = st.sampled_from(
    ["example.com", "NHS.net", "bücher.example", "x", "a..b", "-a.uk", "[::1]"]
)


class Holder(Model):
    email: Email


@given(st.builds("{}@{}".format, PIECE, DOMAIN) | PIECE)
@example("a" * 64 + "@example.com")
@example("a" * 65 + "@example.com")
@example("a@" + "b" * 60 + "." + "c" * 60 + "." + "d" * 60 + "." + "e" * 60 + ".uk")
@example("a@b@example.com")
def test_an_email_address_is_what_the_library_says_it_is(text: str) -> None:
    try:
        expected = email_validator.validate_email(text.strip(), check_deliverability=False)
        normal = expected.normalized if len(text.strip()) <= 254 else None
    except email_validator.EmailNotValidError:
        normal = None
    intake = Intake(livemode=False, now=datetime.now(UTC), warnings=[])
    received = receive(Holder, {"email": text}, intake, [])
    assert (received.email if received else None) == normal


MOMENTS = st.timedeltas(timedelta(0), timedelta(days=365 * 400)).map(
    lambda since: datetime(1970, 1, 1, tzinfo=UTC) + since
)


@given(MOMENTS, st.integers(-14, 14))
def test_a_moment_is_written_as_the_library_writes_it(utc: datetime, hours: int) -> None:
    moment = utc.astimezone(timezone(timedelta(hours=hours)))
    expected = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    assert clock.isoformat(moment) == expected.replace("+00:00", "Z")


@given(MOMENTS, MOMENTS)
def test_ids_are_in_the_order_of_their_moments(one: datetime, two: datetime) -> None:
    first, second = ids.mint("p", one), ids.mint("p", two)
    assert ids.split(first)[0] == one
    assert (first[:11] < second[:11]) == (one < two)


@given(st.text(min_size=1, max_size=60), st.integers(0, 60), st.integers(1, words.LONGEST))
def test_a_name_is_found_by_the_beginning_of_each_of_its_words(
    name: str, start: int, size: int
) -> None:
    plain = words.normalise(name).split(" ")
    if plain == [""]:
        return
    first = start % min(len(plain), words.MOST_WORDS)
    turned = " ".join(plain[first:] + plain[:first])
    found = words.beginnings(name)
    assert turned[:size].strip() in found
    assert words.whole(name) in found
    assert len(found) <= words.MOST_WORDS * words.LONGEST + 1


def test_accents_case_and_punctuation_do_not_matter() -> None:
    for one, other in (
        ("Zoë", "zoe"),
        ("O\u2019Brien-Łuk", "o'brien łuk"),
        ("\ufb01 \u210d", "fi h"),
    ):
        assert words.normalise(one) == words.normalise(other)
