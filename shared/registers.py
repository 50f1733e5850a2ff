"""What the public registers of the United Kingdom say of an organisation: numbers and their forms.

Each is kept as its register writes it, however it was typed: without spaces, in capitals, with the
zeros that people leave out. Whether somebody has a number, and who, only the register knows: these
checks find slips, and Operations look it up (docs/decisions/0029-activation.md).
"""

import re
from typing import Annotated

from shared.fields import Intake, Line, Shape, checked

_MOBILE = "must be a mobile number of the United Kingdom, such as 07400 123456"
_COMPANY = (
    "must be a number of Companies House: 8 digits such as 01234567, or letters and digits such as"
    " SC123456, NI012345 or OC312345"
)
_CHARITY = (
    "must be a number of a charity register: 6 or 7 digits (England and Wales), SC and 6 digits"
    " (Scotland) or NIC and 6 digits (Northern Ireland)"
)
_COUNTRY = "must begin with its country code: GB, or XI for Northern Ireland, such as GB980780684"
_VAT = (
    "must have 9 digits after the country code, 12 with a branch, or be of the form GBGD001 of a"
    " government department or GBHA599 of a health authority"
)
_CHECK_DIGITS = "has wrong check digits: compare it with the certificate of VAT registration"

_ENGLAND_AND_WALES = "AC|BR|CE|FC|GE|IC|IP|LP|OC|PC|RC|RS|SE|UC|ZC"
_SCOTLAND = "CS|ES|GS|SA|SC|SF|SG|SI|SL|SO|SP|SR|SZ"
_NORTHERN_IRELAND = "EN|GN|NA|NC|NF|NG|NI|NL|NO|NP|NR|NV|NZ"
_COMPANY_NUMBER = (
    f"[0-9]{{8}}|R[0-9]{{7}}|({_ENGLAND_AND_WALES}|{_SCOTLAND}|{_NORTHERN_IRELAND})[0-9]{{6}}"
    "|(IP|SP|NP|NO)([0-9]{5}R|[0-9]{4}RS)"
)
_LENGTH = 8


def _compact(value: str) -> str:
    """Return a number without what people write between its digits."""
    return re.sub(r"[\s.\-]", "", value).upper()


def _mobile(value: str, _: Intake) -> str:
    import phonenumbers

    try:
        number = phonenumbers.parse(value, "GB")
    except phonenumbers.NumberParseException:
        raise ValueError(_MOBILE) from None
    written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    if re.fullmatch(r"\+447700900[0-9]{3}", written):
        raise ValueError("must be a number that is in use: 07700 900000 to 900999 are for drama")
    if (
        number.extension
        or phonenumbers.number_type(number) != phonenumbers.PhoneNumberType.MOBILE
        or phonenumbers.region_code_for_number(number) != "GB"
    ):
        raise ValueError(_MOBILE)
    return str(written)


def _company_number(value: str, _: Intake) -> str:
    parts = re.fullmatch(r"([A-Z]*)([0-9]+)(R?S?)", _compact(value))
    if parts is None or int(parts[2]) == 0:
        raise ValueError(_COMPANY)
    prefix, digits, suffix = parts.groups()
    number = prefix + digits.zfill(_LENGTH - len(prefix + suffix)) + suffix
    if not re.fullmatch(_COMPANY_NUMBER, number):
        raise ValueError(_COMPANY)
    return number


def _charity_number(value: str, _: Intake) -> str:
    number = re.sub(r"\s", "", value).upper()
    if not re.fullmatch(r"[1-9][0-9]{5,6}(-[1-9][0-9]{0,3})?|SC[0-9]{6}|NIC[0-9]{6}", number):
        raise ValueError(_CHARITY)
    return number


def _vat_number(value: str, _: Intake) -> str:
    number = _compact(value)
    country, rest = number[:2], number[2:]
    if country not in ("GB", "XI"):
        raise ValueError(_COUNTRY)
    if re.fullmatch(r"GD[0-4][0-9]{2}|HA[5-9][0-9]{2}", rest):
        return number
    if not re.fullmatch(r"[0-9]{9}([0-9]{3})?", rest):
        raise ValueError(_VAT)
    weighted = sum(
        weight * int(digit) for weight, digit in zip(range(8, 1, -1), rest, strict=False)
    )
    remainder = (weighted + int(rest[7:9])) % 97
    # Those from 100 on may be by 9755, which adds 55 first: 42 is left, and of some newer ones 55.
    right = (0, 42, 55) if rest >= "1" else (0,)
    if remainder not in right or int(rest[:7]) == 0:
        raise ValueError(_CHECK_DIGITS)
    return number


UkMobile = Annotated[
    Line,
    checked(_mobile),
    Shape(
        description="A mobile number of the United Kingdom; kept in E.164 form.",
        format="uk-mobile",
        examples=["+447400123456"],
    ),
]
"""A mobile number of the United Kingdom (Ofcom, National Telephone Numbering Plan: 071 to 075 and
077 to 079, less what it gives to Jersey, Guernsey and Man), as it is dialled here or in E.164 form.
Those islands are not in the United Kingdom, and texts to them are charged as to abroad. Personal
numbers (070) and pagers (076) are none; nobody has those for drama."""

CompanyNumber = Annotated[
    Line,
    checked(_company_number),
    Shape(
        description="A company registration number of Companies House: eight characters.",
        format="company-number",
        examples=["01234567"],
    ),
]
"""A company number: eight digits in England and Wales, else two letters that say what it is and
where, and six digits; R and seven for a company of Northern Ireland from before 1922; those of
societies may end in R or RS (Companies House, Uniform Resource Identifiers customer guide). Zeros
in front may be left out."""

CharityNumber = Annotated[
    Line,
    checked(_charity_number),
    Shape(
        description="A number of a charity register of the United Kingdom.",
        format="charity-number",
        examples=["1234567"],
    ),
]
"""A number of a register of charities: of the Charity Commission for England and Wales (six or
seven digits; of a linked charity with a hyphen and its own number), of OSCR in Scotland (SC and six
digits) or of the Charity Commission for Northern Ireland (NIC and six digits)."""

VatNumber = Annotated[
    Line,
    checked(_vat_number),
    Shape(
        description="A VAT registration number with its country code.",
        format="vat-number",
        examples=["GB980780684"],
    ),
]
"""A VAT registration number with its country code, GB, or XI where Northern Ireland trades with the
European Union (HMRC, VAT registration numbers): nine digits of which two are check digits by
modulus 97 or 9755, three more for a branch; GD000 to GD499 for government departments, HA500 to
HA999 for health authorities."""

_TIMES = (
    *((0, 1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 4, 0, 6, 7, 8, 9, 5)),
    *((2, 3, 4, 0, 1, 7, 8, 9, 5, 6), (3, 4, 0, 1, 2, 8, 9, 5, 6, 7)),
    *((4, 0, 1, 2, 3, 9, 5, 6, 7, 8), (5, 9, 8, 7, 6, 0, 4, 3, 2, 1)),
    *((6, 5, 9, 8, 7, 1, 0, 4, 3, 2), (7, 6, 5, 9, 8, 2, 1, 0, 4, 3)),
    *((8, 7, 6, 5, 9, 3, 2, 1, 0, 4), (9, 8, 7, 6, 5, 4, 3, 2, 1, 0)),
)
"""How two symmetries of a pentagon are one: the group of Verhoeff's check digit."""
_TURNED = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)
"""What a digit becomes with each place that it is further to the left."""


def _verhoeff(number: str) -> bool:
    """Tell whether a number ends in its check digit (J. Verhoeff, 1969)."""
    total = 0
    for place, digit in enumerate(map(int, reversed(number))):
        turned = digit
        for _ in range(place % 8):
            turned = _TURNED[turned]
        total = _TIMES[total][turned]
    return total == 0


def _snomed_code(value: str, _: Intake) -> str:
    number = re.sub(r"\s", "", value)
    if not re.fullmatch(r"[1-9][0-9]{2,14}[01]0[0-9]", number) or not _verhoeff(number):
        raise ValueError("must be the code of a concept of SNOMED CT, such as 28520004")
    return number


SnomedCode = Annotated[
    Line,
    checked(_snomed_code),
    Shape(
        description="The code of a concept of SNOMED CT.",
        format="snomed-code",
        examples=["28520004"],
    ),
]
"""The identifier of a concept of SNOMED CT: 6 to 18 digits, of which the last is a check digit and
the two before it say that it is a concept (SNOMED International, SCTID, release file
specification, 6)."""
