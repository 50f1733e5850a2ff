"""What requests, answers and stored documents are made of.

A field has one name: on the wire, in Python and in the store (docs/decisions/0006).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Annotated, Any, ClassVar, Generic, NamedTuple, Self, TypeVar

from pydantic import BaseModel, ConfigDict, create_model

from shared import clock, ids
from shared.fields import Timestamp, merge_metadata
from shared.settings import Mode

PATIENT = "p"
"""What the ids of patients begin with: by it the audit knows them among other ids."""


class Model(BaseModel):
    """An object of named fields. Texts lose white space at both ends.

    What validates it is built when it is first needed, for a start needs few of all models.
    """

    model_config = ConfigDict(str_strip_whitespace=True, extra="ignore", defer_build=True)

    secretive: ClassVar[bool] = False
    """Whether what is typed for it may be in no page: it has passwords, codes or keys."""


class Record(Model):
    """Something that is stored under its id.

    It belongs to one organisation and one mode, unless `account` says that an organisation has it
    once for both, or `shared` names the modes in which it is Ally's own and the same for everyone.
    """

    collection: ClassVar[str]
    prefix: ClassVar[str]
    account: ClassVar[bool] = False
    shared: ClassVar[frozenset[Mode]] = frozenset()
    owned: ClassVar[bool] = False
    """Whether one belongs to the end user whom its `endUserId` names, and no other may see it."""
    private: ClassVar[set[str]] = set()
    """Fields that are stored and never shown."""
    derived: ClassVar[set[str]] = set()
    """Fields that are worked out when they are shown (`seen`) and never stored."""
    once: ClassVar[set[str]] = set()
    """Fields that only the first answer shows: neither stored nor repeated to a retry."""
    traced: ClassVar[bool] = True
    """Whether the line of a request that shows or changes one names it."""

    id: str
    """The id of the object."""

    @property
    def expires(self) -> datetime | None:
        """When the record may be deleted, if ever. Until it is, it still reads back."""
        return None

    @classmethod
    def accepts(cls, record_id: str) -> bool:
        """Tell whether a text could be the id of such a record; if not, nothing is read for it."""
        return ids.is_id(cls.prefix, record_id)

    def dump(self) -> dict[str, Any]:
        """Return the document that is stored: JSON values only, and no field that is not set.

        Indexes would hold what is null as well, and no query asks for it.
        """
        fields = self.model_dump(mode="json", exclude=self.derived | self.once)
        return {name: value for name, value in fields.items() if value is not None}

    def terms(self) -> Sequence[str]:
        """Return what the record is found by beside its fields."""
        return ()

    def concerns(self) -> Sequence[str]:
        """Return the ids of the patients whose data it is: who sees or changes it, saw them."""
        return ()

    @classmethod
    def load(cls, data: dict[str, Any]) -> Self:
        """Make the record of a stored document."""
        return cls.model_validate(data)


class Resource(Record):
    """A record that the API shows. `object` names its kind.

    `expands` says which fields hold the id of another object, by the name that it has when a caller
    asks for it to be shown in full.
    """

    expands: ClassVar[Mapping[str, "Expansion"]] = {}

    object: str
    """The kind of object."""
    livemode: bool
    """Whether the object belongs to live mode."""
    createdAt: Timestamp
    """When the object was made."""
    updatedAt: Timestamp
    """When the object was last changed."""

    @classmethod
    def new(cls, *, at: datetime, livemode: bool, **fields: Any) -> Self:
        """Make a resource with an id of its own, created at the moment `at`."""
        written = clock.isoformat(at)
        common = {
            "id": ids.mint(cls.prefix, at),
            "livemode": livemode,
            "createdAt": written,
            "updatedAt": written,
        }
        if "metadata" in fields:
            fields["metadata"] = merge_metadata({}, fields["metadata"])
        return cls.model_validate({**common, **fields})

    def changed(self, at: datetime, **values: Any) -> Self:
        """Return the resource with new values of some fields, changed at the moment `at`."""
        return self.model_copy(update={**values, "updatedAt": clock.isoformat(at)})

    def seen(self, now: datetime, *, livemode: bool) -> Self:
        """Return the resource as it is shown at a moment, in a mode."""
        return self


class Expansion(NamedTuple):
    """An object that another one names: the field that holds its id, and its kind."""

    field: str
    model: type[Resource]

    @property
    def permission(self) -> str:
        """The permission that it takes to see it."""
        return f"{self.model.collection}:read"


class Deleted(Model):
    """What is left of an object that was deleted."""

    id: str
    """The id that the object had."""
    object: str
    """The kind of object that it was."""
    deleted: bool = True
    """Always true."""


R = TypeVar("R", bound=Resource)
M = TypeVar("M", bound=Model)


class Changes(Generic[M]):
    """What a caller wants changed: the fields of M that the request named, validated.

    A field that was left out is left alone; an optional one that was sent empty is unset. An object
    (an address, say) is replaced as a whole, since half of an old one and half of a new one would
    lead a practitioner to the wrong door; metadata alone is merged.
    """

    def __init__(self, validated: Model) -> None:
        self.values: dict[str, Any] = {
            name: getattr(validated, name) for name in validated.model_fields_set
        }

    def apply(self, resource: R, at: datetime) -> R:
        """Return the resource as changed at the moment `at`."""
        fields = type(resource).model_fields
        values: dict[str, Any] = {
            name: fields[name].get_default() if value is None else value
            for name, value in self.values.items()
        }
        if "metadata" in values:
            values["metadata"] = merge_metadata(
                getattr(resource, "metadata", {}), self.values["metadata"]
            )
        return resource.changed(at, **values)


@cache
def changes_model(model: type[Model]) -> type[Model]:
    """Return the model of a request that changes a `model`: every field may be left out."""
    # Annotated wants at least one thing beside the type, and a field may have no metadata.
    fields: dict[str, Any] = {
        name: (Annotated[(info.annotation, *info.metadata, "changed")], None)
        for name, info in model.model_fields.items()
    }
    noun = model.__name__.removesuffix("In").removesuffix("Changes")
    return create_model(f"{noun}Changes", __base__=model, **fields)
