"""What there is before the first request: coverage, an organisation, its tasks, its first key."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from shared import ids
from shared.backends import OURS
from shared.directory import Entry
from shared.end_users import Tenant
from shared.issuing import EVERYTHING, draw
from shared.keys import Access, ApiKey
from shared.models import Record
from shared.organisations import Organisation
from shared.scheduling import Coverage
from shared.service import Service
from shared.settings import Mode
from shared.store import Ref, Store
from shared.tasks import standard_tasks

ADMINISTRATOR: Mapping[str, Access] = {**EVERYTHING, "api_keys": "write"}


def open_store(
    service: Service, mode: Mode, organisation: str, *, at: datetime, account: bool = False
) -> Store:
    """Open a store outside a request, at a moment."""
    return Store(
        service.storage,
        mode=mode,
        organisation=organisation,
        now=at,
        request_id=ids.mint("req", at),
        account=account,
    )


async def keep(
    service: Service,
    mode: Mode,
    organisation: str,
    records: Iterable[Record],
    at: datetime,
    *,
    account: bool = False,
) -> None:
    """Store new records in one commit."""
    store = open_store(service, mode, organisation, at=at, account=account)
    for record in records:
        store.insert(record)
    await store.commit()


async def load_coverage(service: Service, mode: Mode, areas: Mapping[str, list[str]]) -> None:
    """Store which outward codes are served, area by area, over what was stored before."""
    records = [Coverage(id=code, area=area) for area, codes in areas.items() for code in codes]
    store = open_store(service, mode, OURS, at=service.now())
    await store.find(*(Ref(Coverage, record.id) for record in records))
    for record in records:
        store.put(record)
    await store.commit()


async def create_organisation(
    service: Service, name: str, scopes: Mapping[str, Access] = EVERYTHING
) -> tuple[Organisation, ApiKey]:
    """Make an organisation with the standard tasks in test mode, and its first test key."""
    at = service.now()
    organisation = Organisation.new(at=at, livemode=False, displayName=name)
    entry = Entry.of(organisation, at)
    await keep(service, "test", organisation.id, [organisation, entry], at, account=True)
    await keep(service, "test", organisation.id, standard_tasks(at), at)
    return organisation, await create_key(service, "test", organisation.id, scopes)


async def connect_tenant(
    service: Service, mode: Mode, organisation: str, tenant: str
) -> Organisation:
    """Give an organisation a tenant of Firebase Authentication, in which its end users are.

    ConflictError where the tenant is taken.
    """
    store = open_store(service, mode, organisation, at=service.now(), account=True)
    connected = await stage_tenant(store, mode, tenant)
    await store.commit()
    return connected


async def stage_tenant(store: Store, mode: Mode, tenant: str) -> Organisation:
    """Stage that a tenant is that of an organisation's end users in a mode."""
    found = await store.get(Organisation, store.organisation)
    tenants = found.firebaseTenants.model_copy(update={mode: tenant})
    # Not `insert`: its id is not this request's alone.
    store.put(Tenant(id=f"{mode}-{tenant}", organisation=store.organisation))
    return store.put(found.changed(store.now, firebaseTenants=tenants))


async def create_key(
    service: Service,
    mode: Mode,
    organisation: str,
    scopes: Mapping[str, Access],
    name: str = "First key",
    **fields: Any,
) -> ApiKey:
    """Make a key of an organisation; what is returned has its secret."""
    at = service.now()
    key = await draw(
        service.keyring, mode, organisation, at, name=name, scopes=dict(scopes), **fields
    )
    await keep(service, mode, organisation, [key], at)
    return key
