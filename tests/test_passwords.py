"""Passwords and codes by themselves: what may be chosen, and what is read of what was typed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import codes
from shared.codes import ALPHABET, Purpose
from shared.passwords import LONGEST, SHORTEST, objection
from shared.signing import family

KNOWN = ("ada.lovelace@northfield.example", "Ada Lovelace", "Northfield Care")


def keyed(text: str) -> str:
    import hashlib

    return hashlib.blake2b(text.encode(), key=b"a key of the test").hexdigest()


@pytest.mark.parametrize(
    "password",
    [
        *("password1234", "P@ssw0rd2026!!", "Summer2026!!!", "hospitalpassword", "letmeinletmein"),
        *("aaaaaaaaaaaaaa", "abababababab", "abcabcabcabc", "123456789012", "qwertyuiop12"),
        *("ada.lovelace@1", "Northfield2026", "LovelaceNorthfield", "  welcome welcome  "),
    ],
)
def test_what_guessing_begins_with_may_not_be_chosen(password: str) -> None:
    assert "first that would be guessed" in str(objection(password, KNOWN))


@pytest.mark.parametrize(
    "password",
    [
        *("correct horse battery", "mein Hund bellt laut", "x7Kp-29qQ-zzT1", "829471036482"),
        *(
            "ünïcødé pässwörter",
            "пароль мой длинный",
            "seven green kettles",
            "🐎🔋🧷🪝🐎🔋🧷🪝🌳🌲🌴🎄",
        ),
    ],
)
def test_whatever_is_long_and_ones_own_may_be_chosen(password: str) -> None:
    assert objection(password, KNOWN) is None


def test_a_password_has_a_length() -> None:
    assert str(SHORTEST) in str(objection("x7Kp-29qQ-z"))
    assert objection("green kettles " * 9 + "gk") is None
    assert str(LONGEST) in str(objection("green kettles " * 9 + "gkw"))


CODE_IDS = st.text(ALPHABET, min_size=8, max_size=8)


@given(CODE_IDS, st.sampled_from(["-", " ", "", "\u2011", "\n"]), st.booleans())
def test_a_code_is_read_however_it_was_typed(code_id: str, between: str, small: bool) -> None:
    code = codes.write(keyed, "sign_up", code_id)
    assert len(code) == 19
    typed = code.replace("-", between).replace("0", "O").replace("1", "l" if small else "I")
    assert codes.read(keyed, "sign_up", typed.lower() if small else typed) == code_id


@given(CODE_IDS, st.integers(0, 18), st.sampled_from(ALPHABET))
def test_a_code_with_another_letter_is_no_code(code_id: str, at: int, letter: str) -> None:
    code = codes.write(keyed, "sign_up", code_id)
    other = code[:at] + letter + code[at + 1 :]
    meant = codes.plain(other) == codes.plain(code)
    assert (codes.read(keyed, "sign_up", other) == code_id) == meant


@pytest.mark.parametrize("purpose", ["invitation", "password_reset"])
def test_a_code_opens_nothing_but_what_it_was_made_for(purpose: Purpose) -> None:
    code = codes.write(keyed, "sign_up", codes.new_id())
    assert codes.read(keyed, purpose, code) is None


@given(st.text(max_size=40))
def test_what_somebody_makes_up_is_no_code(text: str) -> None:
    assert codes.read(keyed, "sign_up", text) is None


@pytest.mark.parametrize(
    ("agent", "told"),
    [
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) Version/17.5 Safari/605", "Safari on macOS"),
        ("Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0 Safari/537.36", "Chrome on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/140 Safari/537 Edg/140", "Edge on Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) CriOS/140", "Chrome on iPhone"),
        ("curl/8.5", "A browser"),
        ("", "A browser"),
    ],
)
def test_a_session_is_known_again_by_its_browser(agent: str, told: str) -> None:
    assert family(agent) == told
