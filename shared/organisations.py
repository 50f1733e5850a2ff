"""Organisations: the bodies that have an account, and what a new one starts with."""

from typing import ClassVar

from shared.models import Resource


class Organisation(Resource):
    """A trust, business, company, charity or other body with an account.

    It exists once for both modes. `activation` is how far it is on its way to live mode:
    `not_started`, `begun`, `under_review`, `active`, `rejected` or `suspended`.
    """

    collection: ClassVar[str] = "organisations"
    prefix: ClassVar[str] = "org"
    account: ClassVar[bool] = True

    object: str = "organisation"
    displayName: str
    activation: str = "not_started"
