"""The dashboard's portal: whom it lets in, and the notices that its pages begin with."""

from pathlib import Path

from functions.dashboard.doorman import Users
from shared.portals import Portal

NOTICES = {
    "activation_changed": "Nothing was changed: this is how things are now.",
    "activation_submitted": "Sent to Ally. We write to you when it is decided.",
    "activation_withdrawn": "You can change it again. Send it when you are done.",
    "appointment_cancelled": "The appointment is cancelled, and its window is free again.",
    "appointment_changed": "The appointment is changed.",
    "appointment_created": "The appointment is booked.",
    "appointment_moved": "The appointment is moved to another window.",
    "factor_added": "The second factor is added.",
    "factor_removed": "The second factor is removed. You are signed out everywhere else.",
    "invited_too_often": "Nothing was sent: too many invitations today. Try again tomorrow.",
    "invitation_withdrawn": "The invitation is withdrawn.",
    "invited": "The invitation is on its way.",
    "joined": "Welcome to the team.",
    "key_changed": "The key is changed. It takes effect within 15 seconds.",
    "key_revoked": "The key is revoked. It stops working within 15 seconds.",
    "name_under_review": "Saved. Patients read the new name once Ally has approved it.",
    "organisation_changed": "The organisation is changed.",
    "not_sent": "What you sent was not done. Sign in, then send it again.",
    "password_changed": "Your password is changed. You are signed out everywhere else.",
    "patient_changed": "The patient is changed.",
    "patient_created": "The patient is created.",
    "patient_deleted": "The patient is deleted.",
    "removed": "They are no longer in your team. Their sessions end within 15 seconds.",
    "role_changed": "The role is changed. It takes effect within 15 seconds.",
    "saved": "Saved.",
    "session_ended": "The session is ended.",
    "sessions_ended": "All other sessions are ended.",
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
