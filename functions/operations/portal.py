"""Operations' portal: whom it lets in, and the notices that its pages begin with."""

from pathlib import Path

from functions.operations.doorman import Staff
from shared.portals import Portal

NOTICES = {
    "changed": "Nothing was changed: somebody was faster, and this is how things are now.",
    "done": "Done.",
    "not_sent": "What you sent was not done. Sign in, then send it again.",
    "revived": "The job is queued again.",
    "signed_out": "You have signed out.",
}
"""What a page may begin with after something was done, by the name that its address carries."""

portal = Portal(
    "operations",
    audience="staff",
    doorman=Staff(),
    templates=Path(__file__).parent,
    notices=NOTICES,
    title="Operations",
)
