"""What mail says to people of organisations: plain text, short, and never anything of a patient.

Whoever signs up names any address, so a letter to one that nobody has confirmed holds no words of
theirs, or our name would be lent to strangers. An organisation's name, which invitations hold, is
written such that no mail program makes a link of it.
"""

import re
from datetime import datetime

from shared.clock import LONDON
from shared.models import Model

LONGEST_NAME = 60


class Letter(Model):
    """What is written to somebody: paragraphs, between which stands where they go on."""

    subject: str
    text: str
    path: str = ""
    """Where on the dashboard they go on, if anywhere."""
    code: str = ""
    """What they enter there. It stands behind the path's `#`, which no server is told."""
    until: datetime | None = None
    """Until when the code is taken. Later the letter is not sent any more."""
    closing: str = ""


def confirm_email(code: str, until: datetime) -> Letter:
    """Ask who signs up whether the address is theirs."""
    return Letter(
        subject="Confirm your e-mail address",
        text="You asked for an Ally account. Confirm that this address is yours:",
        path="/confirm",
        code=code,
        until=until,
        closing="If it was not you, ignore this: without the code there is no account.",
    )


def already_registered() -> Letter:
    """Tell who has an account that somebody signed up with their address."""
    return Letter(
        subject="You already have an Ally account",
        text="Somebody, probably you, signed up with this address. It has an account already, and"
        " nothing was changed. If you forgot the password, choose another:",
        path="/forgotten",
    )


def invitation(organisation: str, inviter: str, role: str, code: str, until: datetime) -> Letter:
    """Invite somebody in a role; `inviter` is the address of the administrator who does."""
    name = plain(organisation)
    article = "an" if role[:1] in "aeiou" else "a"
    return Letter(
        subject=f"Join {name} on Ally",
        text=f"{inviter} invites you to join {name} on Ally, as {article} {role}. Accept here:",
        path="/invitation",
        code=code,
        until=until,
        closing="If you do not expect this, ignore it.",
    )


def reset_password(code: str, until: datetime) -> Letter:
    """Let somebody who forgot their password choose another."""
    return Letter(
        subject="Choose a new password",
        text="You asked for a new password of your Ally account. Choose it here:",
        path="/reset",
        code=code,
        until=until,
        closing="If it was not you, ignore this: your password stays as it is.",
    )


def unknown_address() -> Letter:
    """Tell who asked for a new password that no account has their address."""
    return Letter(
        subject="No Ally account has this address",
        text="Somebody, probably you, asked for a new password with this address, but it has no"
        " account. Perhaps you signed up with another address. You can make an account here:",
        path="/sign-up",
    )


def password_changed() -> Letter:
    """Tell somebody that their password is another one now."""
    return _warning("Your password was changed", "The password of your Ally account was changed.")


def new_second_factor(what: str) -> Letter:
    """Tell somebody that they have another second factor, such as `a passkey`."""
    return _warning(
        "Your account has a new second factor",
        f"From now on {what} is a second factor of your Ally account.",
    )


def second_factor_removed(what: str) -> Letter:
    """Tell somebody that they have one second factor less."""
    return _warning(
        "A second factor of your account was removed",
        f"From now on {what} is no second factor of your Ally account any more.",
    )


def activation_approved(organisation: str) -> Letter:
    """Tell an administrator that live mode is open."""
    return Letter(
        subject=f"{plain(organisation)} is active",
        text="Ally has approved your organisation: live mode is open. An administrator can now see"
        " the live key, which is shown once:",
        path="/live/api_keys",
    )


def activation_rejected(organisation: str, reason: str) -> Letter:
    """Tell an administrator why live mode is not open."""
    return Letter(
        subject=f"{plain(organisation)} was not activated",
        text=f"Ally could not approve your organisation yet:\n\n{_quoted(reason)}\n\n"
        "You can correct what you sent, and send it again:",
        path="/activation",
    )


def display_name_approved(name: str) -> Letter:
    """Tell an administrator that patients read another name from now on."""
    return Letter(
        subject="Your display name was approved",
        text=f"Patients read your new display name from now on: {plain(name)}",
    )


def display_name_rejected(name: str, reason: str) -> Letter:
    """Tell an administrator why patients go on reading the earlier name."""
    return Letter(
        subject="Your display name was not approved",
        text=f"Ally could not approve the display name {plain(name)}. Patients go on reading the"
        f" earlier one.\n\n{_quoted(reason)}",
    )


def suspended(organisation: str, reason: str) -> Letter:
    """Tell an administrator that live keys have stopped, and why."""
    return Letter(
        subject=f"{plain(organisation)} was suspended",
        text=f"The live keys of your organisation do not work any more:\n\n{_quoted(reason)}\n\n"
        "Test mode is as it was.",
    )


def resumed(organisation: str) -> Letter:
    """Tell an administrator that live keys work again."""
    return Letter(
        subject=f"{plain(organisation)} is active again",
        text="The live keys of your organisation work again.",
    )


def plain(name: str) -> str:
    """Return a name in one line, short, and such that no mail program makes a link of it."""
    line = " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", " ", name).split())
    return re.sub(r"(?<=\S)[.:/@]+(?=\S)", r"\g<0> ", line)[:LONGEST_NAME]


def written(letter: Letter, dashboard: str, support: str) -> str:
    """Return the text of a letter. No line of it is folded, so that a link stays whole."""
    paragraphs = [letter.text]
    if letter.path:
        address = f"{dashboard}{letter.path}"
        paragraphs.append(f"{address}#{letter.code}" if letter.code else address)
        if letter.code:
            until = "" if letter.until is None else f" until {_when(letter.until)}"
            paragraphs.append(
                f"If the link does not open, enter the code {letter.code} on {address}."
                f" It works{until}."
            )
    closing = f"Questions? Answer this mail, or write to {support}."
    return "\n\n".join(["Hello,", *paragraphs, *filter(None, [letter.closing]), closing, "Ally\n"])


def _warning(subject: str, text: str) -> Letter:
    """Return a letter about what somebody else may have done in the reader's name."""
    return Letter(
        subject=subject,
        text=f"{text} If that was you, there is nothing to do. If not, choose a new password at"
        " once, and tell us:",
        path="/forgotten",
    )


def _quoted(reason: str) -> str:
    return "\n".join(f"> {line}" for line in reason.splitlines())


def _when(moment: datetime) -> str:
    return f"{moment.astimezone(LONDON):%H:%M on %A %-d %B} (UK time)"
