"""What is asked of a sweep: a scenario or trace, how it is set, and what varies; in a TOML file or in options.

::

    scenario = "nvme-epyc"             # or a file, host, or a recorded trace
    kernel = "7.3"                     # machine, cmdline, policy, devices, set: as the options of these names
    random = 1000                      # so many points, drawn; without: every combination
    seed = 1

    [vary]                             # what --vary takes, as lists or spans
    policy = ["work-on-cpu", "probe-on-node"]
    "drivers[0].jitter" = "0..0.5"
    "drivers[0].probe[0].compute" = "1ms..50ms:log"

    [[points]]                         # or each point for itself, with the same keys in all
    policy = "inline"

The question is kept in the dataset, so that a sweep can be resumed without asking it again.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from numaprobe.datasets import pack, rows_of_trace
from numaprobe.errors import InputError, NumaprobeError, UsageError
from numaprobe.reading.files import as_text, read_document
from numaprobe.study.axes import Axis, parse_axes
from numaprobe.study.runs import run
from numaprobe.study.settings import make_setting
from numaprobe.study.sweep.batch import Recipe
from numaprobe.study.sweep.space import AxisSpan, Space, axis_from_json, axis_to_json, parse_span
from numaprobe.study.variation import vary
from numaprobe.topology import load_topology

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numaprobe.scenario import Setting
    from numaprobe.topology import Topology

#: Words at the top of a sweep's file that no scenario's has.
_SWEEPS: Final = ("scenario", "vary", "points", "random")
_SETTING: Final = ("machine", "kernel", "cmdline", "policy", "devices")
#: Rows of a file's table of values
_FEW: Final = 64
#: Probes of a folder of the dataset: less, and files have row groups that are small.
_ROWS_OF_A_KEY: Final = 100_000
_KEYS: Final = ("policy", "kernel")


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepQuestion:
    """What is asked; what is None comes from the scenario."""

    #: scenario or trace, as ``make_setting`` takes it
    source: str
    machine: str | None = None
    kernel: str | None = None
    cmdline: str | None = None
    policy: str | None = None
    devices: int | None = None
    #: ``--set``
    overrides: tuple[str, ...] = ()
    axes: tuple[Axis | AxisSpan, ...] = ()
    #: points one by one
    points: tuple[tuple[str, ...], ...] | None = None
    #: so many, drawn
    random: int | None = None
    seed: int = 0

    def space(self) -> Space:
        """Return what is run.

        Raises:
            UsageError: it is nothing, or too much.

        """
        return Space(self.axes, self.points, self.random, self.seed)

    def base(self) -> Setting:
        """Return what is varied.

        Raises:
            NumaprobeError: see ``make_setting``.

        """
        given = {name: getattr(self, name) for name in _SETTING}
        return make_setting(self.source, overrides=self.overrides, **given)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        block = {name: getattr(self, name) for name in ("source", *_SETTING, "overrides", "points", "random", "seed")}
        return {**block, "axes": [axis_to_json(axis) for axis in self.axes]}


def question_from_json(block: Any) -> SweepQuestion:  # noqa: ANN401  plain JSON
    """Return the question that a dataset keeps.

    Raises:
        InputError: that is none.

    """
    try:
        points = block["points"]
        return SweepQuestion(
            **{name: block[name] for name in ("source", *_SETTING, "random", "seed")},
            overrides=tuple(block["overrides"]),
            points=None if points is None else tuple(tuple(str(value) for value in point) for point in points),
            axes=tuple(axis_from_json(axis) for axis in block["axes"]),
        )
    except (TypeError, KeyError, AttributeError):
        raise InputError("the question of this sweep is damaged; ask it again in another folder") from None


def is_sweep_file(source: str) -> bool:
    """Tell whether a name is that of a sweep's file, and not of a scenario's."""
    if not source.endswith(".toml") or not Path(source).is_file():
        return False
    try:
        data = tomllib.loads(Path(source).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return any(word in data for word in _SWEEPS)


def read_question(path: str) -> SweepQuestion:
    """Return what a sweep's file asks.

    Raises:
        InputError: it cannot be read, or says what a sweep cannot.
        UsageError: an axis is none.

    """
    content = read_document(Path(path), "scenario")
    if content is None:
        raise InputError("cannot be read", path)
    try:
        data = tomllib.loads(as_text(content, path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"is no TOML: {error}", path) from None
    known = {"scenario", "vary", "points", "random", "seed", "set", *_SETTING}
    if unknown := sorted(set(data) - known):
        raise InputError(f"{unknown[0][:60]}: no key of a sweep; known: {', '.join(sorted(known))}", path)
    _check_types(data, path)
    axes, points = _axes(data.get("vary", {}), path), None
    if listed := data.get("points"):
        if axes:
            raise InputError("vary and points: give one of them", path)
        axes, points = _points(listed, path)
    return SweepQuestion(
        source=data["scenario"],
        overrides=tuple(data.get("set", ())),
        axes=axes,
        points=points,
        random=data.get("random"),
        seed=data.get("seed", 0),
        **{name: data.get(name) for name in _SETTING},
    )


def _check_types(data: Mapping[str, Any], path: str) -> None:
    texts = ("scenario", "machine", "kernel", "cmdline", "policy")
    wanted: dict[str, Any] = {**dict.fromkeys(texts, str), "devices": int, "random": int, "seed": int}
    wanted |= {"vary": dict, "points": list, "set": list}
    for key, kind in wanted.items():
        if key in data and (not isinstance(data[key], kind) or isinstance(data[key], bool)):
            raise InputError(f"{key}: must be {_WORDS[kind]}", path)
    if "scenario" not in data:
        raise InputError("scenario: is missing; name what is varied", path)
    for key in ("devices", "random"):
        if data.get(key, 1) < 1:
            raise InputError(f"{key}: must be at least 1", path)
    if data.get("seed", 0) < 0:
        raise InputError("seed: must not be negative", path)
    if not all(isinstance(one, str) for one in data.get("set", ())):
        raise InputError("set: must be a list of texts, as --set takes them", path)


_WORDS: Final = {str: "a text", int: "a whole number", dict: "a table", list: "a list"}


def _axes(table: Mapping[str, Any], path: str) -> tuple[Axis | AxisSpan, ...]:
    found: list[Axis | AxisSpan] = []
    for key, said in table.items():
        values = said if isinstance(said, list) else [said]
        if not values:
            raise InputError(f"vary.{key[:60]}: has no value", path)
        texts = [_text(value, f"vary.{key[:60]}", path) for value in values]
        parse_axes([f"{key}="])  # is it a key at all?
        span = parse_span(key, texts[0]) if not isinstance(said, list) else None
        found.append(Axis(key, tuple(dict.fromkeys(texts))) if span is None else span)
    return tuple(found)


def _points(listed: Sequence[Any], path: str) -> tuple[tuple[Axis | AxisSpan, ...], tuple[tuple[str, ...], ...]]:
    if not all(isinstance(point, dict) and point for point in listed):
        raise InputError("points: each is a table with a value for every key", path)
    keys = list(listed[0])
    points = []
    for number, point in enumerate(listed):
        if set(point) != set(keys):
            raise InputError(f"points[{number}]: has other keys than points[0]", path)
        points.append(tuple(_text(point[key], f"points[{number}].{key[:60]}", path) for key in keys))
    parse_axes([f"{key}=" for key in keys])
    columns = zip(*points, strict=True)
    axes = tuple(Axis(key, tuple(dict.fromkeys(values))) for key, values in zip(keys, columns, strict=True))
    return axes, tuple(points)


def _text(value: object, where: str, path: str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    raise InputError(f"{where}: must be a text or a number", path)


def make_recipe(question: SweepQuestion, space: Space) -> tuple[Recipe, str]:
    """Return what all runs have in common, and what tells this sweep from another one: a digest.

    The digest is of the space, and of what the base gives when it is run: a scenario's file that was changed meanwhile
    gives another one.

    Raises:
        NumaprobeError: the base cannot be run, or every value of an axis is wrong.

    """
    base = question.base()
    machines = {text: load_topology(text) for text in _values_of(space, "machine")}
    rows = rows_of_trace(0, run(base).trace)
    told = json.dumps([space.digest, question.to_json()]).encode() + pack(rows.runs + rows.probes)
    keys = _keys(space, len(base.plan.devices))
    recipe = Recipe(base=base, axes=space.axes, machines=machines, keys=keys)
    _check_axes(recipe)
    return recipe, hashlib.sha256(told).hexdigest()[:16]


def _values_of(space: Space, key: str) -> tuple[str, ...]:
    return next((axis.values for axis in space.axes if axis.key == key and isinstance(axis, Axis)), ())


def _keys(space: Space, devices: int) -> tuple[str, ...]:
    """Return which columns part the dataset: those of few values, as long as each part is large enough."""
    found: list[str] = []
    rows = space.count * max(1, devices)
    for key in _KEYS:
        values = len(_values_of(space, key))
        if values > 1 and rows // values >= _ROWS_OF_A_KEY:
            found.append(key)
            rows //= values
    return tuple(found)


def _check_axes(recipe: Recipe) -> None:
    """Tell at once what would fail in every run: a value that no axis takes, or an axis of which none works.

    Raises:
        NumaprobeError: so it is.

    """
    for axis in recipe.axes:
        values = [axis.at(0.0), axis.at(1.0)] if isinstance(axis, AxisSpan) else list(axis.values)
        errors = [_wrong(recipe.base, axis, value, recipe.machines) for value in values[:_FEW]]
        first = next((error for error in errors if error is not None), None)
        if first is not None and (all(errors) or isinstance(first, UsageError)):
            raise first


def _wrong(base: Setting, axis: Axis | AxisSpan, value: str, machines: Mapping[str, Topology]) -> NumaprobeError | None:
    try:
        arguments = axis.change(value)
        if "machine" in arguments:
            arguments["machine"] = machines[arguments["machine"]]
        vary(base, arguments.pop("changes", None), **arguments)
    except NumaprobeError as error:
        return error
    return None


def with_options(question: SweepQuestion, given: Mapping[str, Any]) -> SweepQuestion:
    """Return a question with what options say in place of what a file says; None: nothing."""
    return replace(question, **{name: value for name, value in given.items() if value not in (None, ())})
