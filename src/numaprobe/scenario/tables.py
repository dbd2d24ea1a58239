"""Tables of a scenario's file: what all of them share, and how one of a family is told by its key.

A step or a phase is a table that does exactly one thing, and the key that says which thing is the tag of its type:
``{ compute = "1ms" }`` is a ``Compute``. ``Tagged`` reads such a table as the type that its key names, and every type
writes itself back. A type enters its family by being defined; there is no list to keep.
"""

from typing import Annotated, Any, ClassVar, Final, Self, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, PydanticKnownError, core_schema

from numaprobe.scenario.quantities import OBJECTS, NamePattern

#: More devices than the largest machine has; beyond it a file is a mistake or an attack.
MAX_DEVICES: Final = 200_000


class Table(BaseModel):
    """A table of the file: strict, no key that it does not know, never changed."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, arbitrary_types_allowed=True, validate_by_name=True
    )

    @classmethod
    def of(cls, **values: Any) -> Self:  # noqa: ANN401  each key has its own type
        """Return a table of objects instead of a file's texts: a time is ns, a size bytes, a table a table.

        Raises:
            pydantic.ValidationError: a value is none that a file could hold.

        """
        return cls.model_validate(values, context=OBJECTS)

    @classmethod
    def family(cls) -> "type[Table]":
        """Return what reads such a table: itself."""
        return cls

    @classmethod
    def all_kinds(cls) -> "list[type[Table]]":
        """Return what such a table can be: itself."""
        return [cls]

    @classmethod
    def file_keys(cls) -> list[str]:
        """Return the keys that a file may give it."""
        return [field.alias or name for name, field in cls.model_fields.items()]


class Tagged(Table):
    """A table of a family: one key says which kind it is.

    A class that sets ``kinds`` is a family; its fields are what every kind may have besides. A kind is a subclass with
    one field that is required, whose key is the kind's; its other fields belong to this kind alone.
    """

    #: of a family: key -> kind
    kinds: ClassVar[dict[str, type[Any]]]
    #: what the family is called in errors
    noun: ClassVar[str]
    #: of a kind: its key in a file, and the field that holds what stands there
    key: ClassVar[str] = ""
    field: ClassVar[str] = ""

    @classmethod
    def __pydantic_init_subclass__(cls, **_: object) -> None:
        for name, field in cls.model_fields.items():
            if field.is_required():
                cls.field, cls.key = name, field.alias or name
                cls.kinds[cls.key] = cls

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        if "kinds" not in cls.__dict__:
            return handler(source)
        as_it_is = core_schema.simple_ser_schema("any")  # each kind writes itself
        return core_schema.with_info_plain_validator_function(cls._read, serialization=as_it_is)

    @classmethod
    def family(cls) -> type[Table]:
        """Return what reads such a table: its family, as another key makes it another kind."""
        return next(above for above in cls.__mro__ if "kinds" in above.__dict__)

    @classmethod
    def all_kinds(cls) -> list[type[Table]]:
        """Return what such a table can be: of a family, each kind."""
        return [cls] if cls.key else list(cls.kinds.values())

    @classmethod
    def file_keys(cls) -> list[str]:
        """Return the keys that a file may give it: of a family, those of all kinds."""
        shared = [key for key in super().file_keys() if key != cls.key]
        if cls.key:
            return [cls.key, *shared]
        own = (key for _, kind in sorted(cls.kinds.items()) for key in kind.file_keys()[1:] if key not in shared)
        return [*sorted(cls.kinds), *dict.fromkeys(own), *shared]

    @property
    def said(self) -> Any:  # noqa: ANN401  each kind has its own type
        """What stands at the key."""
        return getattr(self, self.field)

    @classmethod
    def _read(cls, value: object, info: core_schema.ValidationInfo) -> Self:
        """Return the table as the kind that its key names."""
        if isinstance(value, cls):
            return value
        if not isinstance(value, dict):
            raise PydanticKnownError("model_type", {"class_name": cls.__name__})
        data = {key: item for key, item in value.items() if item is not None or key not in cls.kinds}
        said = sorted(key for key in cls.kinds if key in data)
        if len(said) != 1:
            _refuse_unknown(cls, data)
            raise one_thing(said, sorted(cls.kinds), cls.noun)
        kind = cls.kinds[said[0]]
        known = kind.file_keys()
        foreign = [key for key in cls.file_keys() if key in data and key not in known]
        table: Self = kind.model_validate(
            {key: item for key, item in data.items() if key not in foreign}, context=info.context
        )
        for key in foreign:
            if data[key] is not None:
                owner = next(name for name, other in cls.kinds.items() if key in other.file_keys())
                raise refused(f"'{key}' belongs to a {cls.noun} with '{owner}'")
        return table


def tables_in(annotation: object) -> list[type[Table]]:
    """Return the tables that a field of this type can hold."""
    if isinstance(annotation, type) and issubclass(annotation, Table):
        return [annotation]
    return [table for part in get_args(annotation) for table in tables_in(part)]


def refused(text: str) -> PydanticCustomError:
    """Return the error that says in these words what is wrong with a table."""
    return PydanticCustomError("numaprobe", "{text}", {"text": text})


def one_thing(said: list[str], keys: list[str], noun: str) -> PydanticCustomError:
    """Return the error of a table that says none or several of these keys."""
    found = f"this one does {' and '.join(said)}" if said else f"this one does none of {', '.join(keys)}"
    return refused(f"a {noun} does exactly one thing; {found}")


def _refuse_unknown(table: type[Table], data: dict[str, Any]) -> None:
    known = table.file_keys()
    wrong = [
        InitErrorDetails(type="extra_forbidden", loc=(key,), input=item)
        for key, item in data.items()
        if key not in known
    ]
    if wrong:
        raise ValidationError.from_exception_data(table.__name__, wrong)


class OrText:
    """Marks what a file may also write as a text alone, for the published schema."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return the schema of either."""
        return {"anyOf": [{"type": "string"}, handler(schema)]}


def _as_list(value: Any) -> Any:  # noqa: ANN401  whatever the file holds
    return [value] if isinstance(value, str) else value


#: One name or several; in steps each may be a glob pattern such as ``0000:8*``.
Names = Annotated[tuple[NamePattern, ...], Field(strict=False, min_length=1), BeforeValidator(_as_list), OrText()]
