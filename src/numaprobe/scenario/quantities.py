"""The values that a scenario file writes as text: times, sizes, CPU lists, errno names, and names with a count in them.

Each is a type for pydantic: text in, integer (or a checked text) out, and a reason in one line if it does not fit.
Nothing here evaluates what a file says: a name pattern has its own small grammar instead of ``str.format``, which
would let a file ask for a name of a thousand million blanks.
"""

import re
from collections.abc import Callable, Iterable
from typing import Annotated, Final

from pydantic import BeforeValidator, PlainSerializer, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from numaprobe.cpuset import CpuSet
from numaprobe.drivercore import errno_value
from numaprobe.errors import InputError
from numaprobe.units import MAX_SIZE, MAX_TIME_NS, format_time_exact, parse_size, parse_time

#: The context of a validation whose input are objects, not a file: times may be ns then, and sizes bytes.
OBJECTS: Final = "objects"

#: sysfs names are shorter than NAME_MAX; a longer one is a mistake.
MAX_NAME: Final = 128

#: Blanks only inside: ``Fixed MDIO bus.0`` is a name that the kernel gives.
_NAME = re.compile(r"[!-.0-~](?:[ -.0-~]{0,126}[!-.0-~])?")
_COMM = re.compile(r"[ -~]{1,63}")
_FIELD = re.compile(r"\{(?:(parent)|i(?:([/%+])(\d{1,6}))?(?::(0?)(\d{1,2})?([dxX])?)?)\}")


def _refuse(text: str) -> PydanticCustomError:
    return PydanticCustomError("numaprobe", "{text}", {"text": text})


def _quantity(parse: Callable[[str], int], kind: str, example: str, most: int, unit: str) -> BeforeValidator:
    def validate(value: object, info: ValidationInfo) -> int:
        if info.context == OBJECTS and isinstance(value, int) and not isinstance(value, bool):
            if 0 <= value <= most:
                return value
            value = f"{value}{unit}"  # refused in the same words
        if not isinstance(value, str):
            raise _refuse(f"{value!r:.40} is not a {kind}; write it as text with its unit, for example '{example}'")
        try:
            return parse(value)
        except InputError as error:
            raise _refuse(str(error)) from None

    return BeforeValidator(validate)


def _errno(value: object) -> str:
    if not isinstance(value, str) or value == "0":
        raise _refuse(f"{value!r:.40} is no errno name; write for example 'ENODEV' or 'EPROBE_DEFER'")
    try:
        errno_value(value)
    except InputError as error:
        raise _refuse(str(error)) from None
    return value


def _cpulist(value: object) -> CpuSet:
    if isinstance(value, CpuSet):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise _refuse(f"{value!r:.40} is not a CPU list; write for example '0-3,8'")
    try:
        return CpuSet.parse_list(value)
    except InputError as error:
        raise _refuse(str(error)) from None


def _pattern(value: object) -> str:
    if not isinstance(value, str):
        raise _refuse(f"{value!r:.40} is not a name")
    if len(value) > MAX_NAME:
        raise _refuse(f"a name has at most {MAX_NAME} characters; this one has {len(value)}")
    rest = _FIELD.sub("0", value)
    if "{" in rest or "}" in rest:
        raise _refuse(f"'{value}': in a name only {{i}}, {{i:02x}}, {{i/8}}, {{i%8}}, {{i+1}} and {{parent}} are known")
    if not _NAME.fullmatch(rest):
        raise _refuse(f"{value!r} is not a device or driver name: printable, no slash, not empty")
    return value


def _in_bytes(size: int) -> str:
    return f"{size}B"


def _comm(value: object) -> str:
    if not isinstance(value, str) or not _COMM.fullmatch(value):
        raise _refuse(f"{value!r:.40} is not a task's name: 1 to 63 printable characters")
    return value


def is_plain_name(text: str) -> bool:
    """Tell whether a scenario can hold ``text`` as the name of one device, driver or bus."""
    return len(text) <= MAX_NAME and "{" not in text and "}" not in text and _NAME.fullmatch(text) is not None


def is_comm(text: str) -> bool:
    """Tell whether a scenario can hold ``text`` as the name of a task."""
    return _COMM.fullmatch(text) is not None


def expand_name(pattern: str, index: int, parent: str = "") -> str:
    """Return ``pattern`` with its fields filled in.

    Args:
        pattern: ``0000:{i:02x}:00.0``; ``{i/8}`` and ``{i%8}`` divide, ``{i+1}`` adds, ``{parent}`` is the parent.
        index: the number of this device in its group.
        parent: name of the device whose probe registers this one.

    """
    if "{" not in pattern:
        return pattern

    def fill(match: re.Match[str]) -> str:
        if match[1]:
            return parent
        number = _arithmetic(index, match[2], int(match[3] or 0))
        return format(number, f"{match[4] or ''}{match[5] or ''}{match[6] or 'd'}")

    return _FIELD.sub(fill, pattern)


def may_expand_to(pattern: str, names: Iterable[str]) -> bool:
    """Tell whether some device of a group with this pattern could be called one of ``names``."""
    if "{" not in pattern:
        return pattern in names
    literals = [re.escape(part) for part in re.split(r"\{[^}]*\}", pattern)]
    shape = re.compile(".*".join(literals), re.DOTALL)
    return any(shape.fullmatch(name) for name in names)


def _arithmetic(index: int, operator: str | None, operand: int) -> int:
    match operator:
        case "+":
            return index + operand
        case "/":
            return index // max(1, operand)
        case "%":
            return index % max(1, operand)
        case _:
            return index


#: A time with its unit; ns inside.
TimeNs = Annotated[
    int,
    _quantity(parse_time, "time", "25ms", MAX_TIME_NS, "ns"),
    PlainSerializer(format_time_exact),
    WithJsonSchema({"type": "string", "title": "time", "examples": ["25ms", "1.5s", "300us"]}),
]
#: A size with its unit; bytes inside.
SizeBytes = Annotated[
    int,
    _quantity(parse_size, "size", "4MiB", MAX_SIZE, "B"),
    PlainSerializer(_in_bytes),
    WithJsonSchema({"type": "string", "title": "size", "examples": ["4MiB", "64KiB"]}),
]
#: An errno name: ``ENODEV``.
ErrnoName = Annotated[str, BeforeValidator(_errno)]
#: A name, or a pattern for the names of a group.
NamePattern = Annotated[str, BeforeValidator(_pattern)]
#: CPUs in the kernel's list format.
Cpus = Annotated[
    CpuSet,
    BeforeValidator(_cpulist),
    PlainSerializer(str),
    WithJsonSchema({"type": ["string", "integer"], "title": "CPUs", "examples": ["0-3,8"]}),
]
#: Name of a task: ``modprobe``, ``kworker/u17:1``.
Comm = Annotated[str, BeforeValidator(_comm)]
