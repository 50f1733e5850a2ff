"""Pages for developers and administrators: requests, keys, the organisation, the audit trail."""

from tests.support.people import signed_in
from tests.support.serving import Partner


def test_each_page_is_there(partner: Partner) -> None:
    person = signed_in(partner)
    for path in (
        "/test",
        "/test/requests",
        "/test/api_keys",
        "/test/api_keys/new",
        f"/test/api_keys/{partner.api_key.id}",
        f"/test/api_keys/{partner.api_key.id}/edit",
        f"/test/api_keys/{partner.api_key.id}/roll",
        f"/test/api_keys/{partner.api_key.id}/revoke",
        f"/test/api_keys/{partner.api_key.id}/reveal",
        "/organisation",
        "/test/audit_events",
    ):
        person.get(path)
