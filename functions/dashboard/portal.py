"""The dashboard's portal: whom it lets in, and the notices that its pages begin with."""

from pathlib import Path

from shared.portals import Portal, Users

NOTICES = {
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
