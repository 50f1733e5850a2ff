"""The dashboard's portal: whom it lets in, and the notices that its pages begin with."""

from pathlib import Path

from shared.portals import Portal, Users

NOTICES = {
    "activation_changed": "Nothing was changed: this is how things are by now.",
    "activation_submitted": "It was sent to Ally.",
    "activation_withdrawn": "You can change it again. Send it when you are done.",
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
