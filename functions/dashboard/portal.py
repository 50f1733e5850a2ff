"""The dashboard's portal: whom it lets in, and the notices that its pages begin with."""

from pathlib import Path

from shared.portals import Portal, Users

NOTICES = {
    "appointment_cancelled": "The appointment is cancelled, and its place is given back.",
    "appointment_created": "The appointment is made.",
    "appointment_moved": "The appointment is in another window now.",
    "patient_changed": "The patient is changed.",
    "patient_created": "The patient is made.",
    "patient_deleted": "The patient is deleted.",
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
