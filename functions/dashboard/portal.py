"""The dashboard's portal: whom it lets in, and the notices that its pages begin with."""

from pathlib import Path

from shared.portals import Portal, Users

NOTICES = {
    "key_changed": "The key is changed. Servers hear of it within 15 seconds.",
    "key_revoked": "The key is revoked. It is refused everywhere within 15 seconds.",
    "name_under_review": "Saved. Patients read the new name once Ally has seen it.",
    "organisation_changed": "The organisation is changed.",
    "signed_out": "You have signed out.",
}
"""What a page may begin with after something was done, by the name that its address carries."""

portal = Portal(
    "dashboard",
    audience="browser",
    doorman=Users(),
    templates=Path(__file__).parent,
    notices=NOTICES,
    title="Dashboard",
)
