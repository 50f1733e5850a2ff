"""Passwords in the real emulator of Identity Platform: what is asked of the stand-in too."""

import pytest

from shared.backends.google.identity import IdentityPasswords
from tests.firebase.test_firebase import PROJECT, Firebase, firebase
from tests.test_identity_platform import (
    connected,
    email,
    test_a_password_is_right_for_whoever_keeps_it_and_no_other_is,
    test_a_password_is_the_same_however_its_characters_were_typed,
    test_a_password_that_is_chosen_anew_is_the_only_one,
    test_a_password_that_is_refused_there_is_named_by_its_code_alone,
    test_a_password_that_was_hashed_before_is_right_until_it_is_kept_there,
    test_an_account_that_is_forgotten_opens_nothing_and_the_address_is_free,
    test_who_has_an_account_there_and_none_with_us_is_nobody,
)

__all__ = [
    "email",
    "firebase",
    "test_a_password_is_right_for_whoever_keeps_it_and_no_other_is",
    "test_a_password_is_the_same_however_its_characters_were_typed",
    "test_a_password_that_is_chosen_anew_is_the_only_one",
    "test_a_password_that_is_refused_there_is_named_by_its_code_alone",
    "test_a_password_that_was_hashed_before_is_right_until_it_is_kept_there",
    "test_an_account_that_is_forgotten_opens_nothing_and_the_address_is_free",
    "test_who_has_an_account_there_and_none_with_us_is_nobody",
]


@pytest.fixture
def passwords(firebase: Firebase) -> IdentityPasswords:
    return connected(firebase.address, PROJECT)  # that of whom it takes each key for
