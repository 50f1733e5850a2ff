"""A portal with one page of each kind, by which the door of portals is tested."""

from pathlib import Path
from typing import ClassVar

from functions.dashboard.doorman import Users
from shared.fields import Name
from shared.models import Model, Resource
from shared.portals import Form, Portal, View, Visit
from shared.routes import PUBLIC, SIGNED_IN
from shared.users import User


class Thing(Resource):
    """Something that a form makes."""

    collection: ClassVar[str] = "things"
    prefix: ClassVar[str] = "thg"

    object: str = "thing"
    name: str


class ThingIn(Model):
    name: Name


portal = Portal(
    "dashboard",  # whose settings and cookies it has
    audience="browser",
    doorman=Users(),
    templates=Path(__file__).parent,
    notices={"made": "The thing was made.", "not_sent": "It was not done."},
    title="Tests",
)


@portal.get("/", permission=SIGNED_IN)
async def start(visit: Visit) -> View:
    return visit.page("said.html", title="Start", text="Welcome")


@portal.get("/sign-in", permission=PUBLIC)
async def sign_in(visit: Visit) -> View:
    return visit.page("said.html", title="Sign in", text=visit.next)


@portal.post("/open", permission=PUBLIC)
async def post_openly(visit: Visit, body: Form[ThingIn]) -> View:
    return visit.page("said.html", title="Open", text=body.text("name"))


@portal.get("/{mode}/things", permission="patients:read")
async def show_form(visit: Visit) -> View:
    return visit.page("form.html", title="Things", form=None)


@portal.post("/{mode}/things", permission="patients:write")
async def make(visit: Visit, body: Form[ThingIn]) -> View:
    if body.value is None:
        return visit.page("form.html", title="Things", form=body, status=400)
    made = visit.store.insert(
        Thing.new(at=visit.now, livemode=visit.store.livemode, name=body.value.name)
    )
    return visit.redirect(f"/{visit.mode}/things/{made.id}", said="made")


@portal.get("/{mode}/things/{thing}", permission="patients:read")
async def show(visit: Visit, thing: str) -> View:
    found = await visit.store.get(Thing, thing)
    return visit.page("said.html", title="Thing", text=found.name)


@portal.post("/{mode}/secrets", permission="api_keys:write")
async def make_secret(visit: Visit) -> View:
    visit.store.insert(Thing.new(at=visit.now, livemode=visit.store.livemode, name="kept"))
    return visit.page("said.html", title="Secret", text="shown once")


@portal.get("/{mode}/crash", permission=SIGNED_IN)
async def crash(visit: Visit) -> View:
    raise ValueError("a text with data in it")


@portal.get("/{mode}/unmakeable", permission=SIGNED_IN)
async def show_what_cannot_be(visit: Visit) -> View:
    return visit.page("said.html", title="Text is missing")


@portal.get("/fresh", permission=SIGNED_IN, fresh=True)
async def show_fresh(visit: Visit) -> View:
    return visit.page("said.html", title="Fresh", text="You are here")


@portal.post("/name", permission=SIGNED_IN, account=True)
async def rename(visit: Visit, body: Form[ThingIn]) -> View:
    user = await visit.store.get(User, visit.user.id)
    assert body.value is not None
    visit.store.put(user.model_copy(update={"name": body.value.name}))
    return visit.redirect("/")


@portal.get("/{mode}/changing", permission=SIGNED_IN)
async def change_on_sight(visit: Visit) -> View:
    visit.store.insert(Thing.new(at=visit.now, livemode=visit.store.livemode, name="changed"))
    return visit.page("said.html", title="Changing", text="changed")


@portal.post("/{mode}/changing", permission=SIGNED_IN)
async def refuse_late(visit: Visit) -> View:
    visit.store.insert(Thing.new(at=visit.now, livemode=visit.store.livemode, name="refused"))
    return visit.page("said.html", title="Refused", text="refused", status=400)
