"""What the public registers say of an organisation: which numbers are taken, and as what."""

from datetime import UTC, datetime
from typing import Any

import pytest
import stdnum.gb.vat as oracle
from hypothesis import given
from hypothesis import strategies as st
from pydantic import create_model
from stdnum import verhoeff

from shared.errors import ApiError
from shared.fields import Intake
from shared.models import Model
from shared.receiving import receive
from shared.registers import CharityNumber, CompanyNumber, SnomedCode, UkMobile, VatNumber

INTAKE = Intake(livemode=True, now=datetime(2026, 11, 22, tzinfo=UTC), warnings=[])


def holder(kind: Any) -> type[Model]:
    return create_model("Holder", __base__=Model, sent=(kind, ...))


MOBILE, COMPANY, CHARITY, VAT = map(holder, (UkMobile, CompanyNumber, CharityNumber, VatNumber))


def taken(kind: type[Model], text: str) -> str:
    """Return how a text is kept, or the sentence that refuses it."""
    problems: list[ApiError] = []
    received = receive(kind, {"sent": text}, INTAKE, problems)
    if received is not None:
        return str(received.sent)  # type: ignore[attr-defined]  # each of these models has it
    (problem,) = problems
    return str(problem.describe()["message"])


@pytest.mark.parametrize(
    "text", ["07400 123456", "+447400123456", "+44 (0)7400 123-456", "0044 7400 123456"]
)
def test_a_mobile_number_is_kept_in_e164_form_however_it_was_typed(text: str) -> None:
    assert taken(MOBILE, text) == "+447400123456"


@pytest.mark.parametrize(
    "text",
    [
        "020 7946 0958",  # London
        "+447797712345",  # Jersey
        "+447781123456",  # Guernsey
        "+447624123456",  # Man
        "070 1234 5678",  # a personal number
        "07640 123456",  # a pager
        "+33612345678",
        "07400 12345",
        "07400 123456 x5",
        "number",
    ],
)
def test_what_is_no_mobile_number_of_the_united_kingdom_is_refused(text: str) -> None:
    assert "must be a mobile number of the United Kingdom" in taken(MOBILE, text)


def test_a_number_for_drama_is_told_from_one_that_somebody_has() -> None:
    assert "are for drama" in taken(MOBILE, "07700 900123")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("01234567", "01234567"),
        ("1234567", "01234567"),
        (" 123 4567 ", "01234567"),
        ("6500244", "06500244"),
        ("sc 123456", "SC123456"),
        ("SC1234", "SC001234"),
        ("NI012345", "NI012345"),
        ("OC312345", "OC312345"),
        ("SO300123", "SO300123"),
        ("NC000123", "NC000123"),
        ("R0000123", "R0000123"),
        ("R123", "R0000123"),
        ("CE012345", "CE012345"),
        ("CS001234", "CS001234"),
        ("RC000123", "RC000123"),
        ("IP27312R", "IP27312R"),
        ("SP2476RS", "SP2476RS"),
        ("IP 1234R", "IP01234R"),
    ],
)
def test_a_company_number_is_kept_as_companies_house_writes_it(text: str, kept: str) -> None:
    assert taken(COMPANY, text) == kept


@pytest.mark.parametrize(
    "text",
    [
        *("00000000", "123456789", "QQ123456", "SC1234567", "SC", "A1234567", "12345678R"),
        *("SC12345R", "GB980780684", "12A45678", "R12345678", "²1234567", "-"),
    ],
)
def test_what_companies_house_never_gave_out_is_refused(text: str) -> None:
    assert "must be a number of Companies House" in taken(COMPANY, text)


@pytest.mark.parametrize("text", ["123456", "1234567", "SC012345", "NIC100123", "1234567-1"])
def test_a_number_of_each_register_of_charities_is_taken(text: str) -> None:
    assert taken(CHARITY, text.lower()) == text


@pytest.mark.parametrize("text", ["12345", "12345678", "012345", "SC1234567", "NI100123", "x"])
def test_what_no_register_of_charities_has_is_refused(text: str) -> None:
    assert "must be a number of a charity register" in taken(CHARITY, text)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("GB 980 7806 84", "GB980780684"),  # by modulus 97
        ("gb980780684001", "GB980780684001"),  # a branch of it
        ("GB100000034", "GB100000034"),  # by modulus 9755
        ("XI980780684", "XI980780684"),
        *((text, text) for text in ("GBGD001", "GBGD499", "GBHA500", "GBHA599", "GBHA999")),
    ],
)
def test_a_vat_number_is_kept_without_spaces(text: str, kept: str) -> None:
    assert taken(VAT, text) == kept


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("980780684", "must begin with its country code"),
        ("IE980780684", "must begin with its country code"),
        ("GB980780685", "has wrong check digits"),
        ("GB000000000", "has wrong check digits"),
        ("GB09999999", "must have 9 digits after the country code"),
        ("GBGD500", "must have 9 digits after the country code"),
        ("GBHA499", "must have 9 digits after the country code"),
        ("GB9807806840", "must have 9 digits after the country code"),
        ("GB98078068٤", "must have 9 digits after the country code"),
    ],
)
def test_what_is_no_vat_number_is_refused_by_what_is_wrong_with_it(text: str, why: str) -> None:
    assert why in taken(VAT, text)


DIGITS = st.integers(1, 9_999_999).map("{:07d}".format)
NUMBERS = st.one_of(
    st.builds("{}{:02d}".format, DIGITS, st.integers(0, 99)),
    st.builds("{}{:02d}{:03d}".format, DIGITS, st.integers(0, 99), st.integers(0, 999)),
    st.builds("{}{:03d}".format, st.sampled_from(["GD", "HA"]), st.integers(0, 999)),
)


@given(NUMBERS)
def test_a_vat_number_is_what_the_library_says_it_is(number: str) -> None:
    assert (taken(VAT, f"GB{number}") == f"GB{number}") == oracle.is_valid(f"GB{number}")


SNOMED = holder(SnomedCode)


@pytest.mark.parametrize("text", ["28520004", "182531007", "30549001", "46973005"])
def test_the_code_of_a_concept_of_snomed_ct_is_taken(text: str) -> None:
    assert taken(SNOMED, f" {text} ") == text


@given(st.integers(1, 999_999).map("{}0".format), st.integers(0, 99))
def test_a_code_is_one_of_a_concept_by_the_librarys_check_digit(item: str, end: int) -> None:
    number = f"{item}{end:02d}"
    right = end < 10 and len(number) >= 6 and verhoeff.is_valid(number)
    assert (taken(SNOMED, number) == number) == right
