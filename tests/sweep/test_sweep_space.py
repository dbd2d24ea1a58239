import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numaprobe.errors import InputError, NumaprobeError, UsageError
from numaprobe.study.axes import Axis
from numaprobe.study.sweep.question import SweepQuestion, is_sweep_file, make_recipe, question_from_json, read_question
from numaprobe.study.sweep.space import AxisSpan, Space, axis_from_json, axis_to_json, parse_space


def space(*vary: str, **more: Any) -> Space:
    return Space(parse_space(vary), **more)


def test_every_combination_once_and_policies_fastest() -> None:
    found = space("policy=inline,strict-node", "kernel=6.12,7.3", "devices=1,2,3")
    points = found.points(0, 100)
    assert found.count == len(points) == len(set(points)) == 12
    assert points[:3] == [("inline", "6.12", "1"), ("strict-node", "6.12", "1"), ("inline", "6.12", "2")]
    assert [point for start in range(0, 12, 5) for point in found.points(start, 5)] == points


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 200), st.integers(0, 5))
def test_a_latin_hypercube_covers_each_axis_evenly(points: int, seed: int) -> None:
    found = space("devices=1..1000", "policy=inline,strict-node", "seed=0..100000", random=points, seed=seed)
    drawn = found.points(0, points)
    assert drawn == space(*WORDS, random=points, seed=seed).points(0, points)
    counted = [sum(point[1] == name for point in drawn) for name in ("inline", "strict-node")]
    assert abs(counted[0] - counted[1]) <= 1
    strata = sorted(math.floor((int(point[2]) + 0.5) / 100_001 * points) for point in drawn)
    assert sum(abs(stratum - place) > 1 for place, stratum in enumerate(strata)) == 0


WORDS = ("devices=1..1000", "policy=inline,strict-node", "seed=0..100000")


@settings(deadline=None, max_examples=50)
@given(st.floats(0, 1, exclude_max=True))
def test_a_span_stays_between_its_ends(place: float) -> None:
    for text, least, most in (("1ms..50ms", 10**6, 5 * 10**7), ("4KiB..1MiB:log", 4096, 2**20), ("1..9", 1, 9)):
        [axis] = parse_space([f"devices={text}"])
        assert isinstance(axis, AxisSpan)
        assert least <= axis.number(axis.at(place)) <= most
    [jitter] = parse_space(["drivers[0].jitter=0..0.5"])
    assert isinstance(jitter, AxisSpan)
    assert 0 <= float(jitter.at(place)) <= 0.5


def test_half_of_a_logarithmic_span_is_below_its_middle() -> None:
    [axis] = parse_space(["devices=1ms..100ms:log"])
    assert isinstance(axis, AxisSpan)
    assert axis.at(0.5) == "10000000ns"


@pytest.mark.parametrize(
    ("vary", "told"),
    [
        (["devices=1..3"], "is a span, and spans are sampled"),
        (["devices=3..1"], "goes from a number to a larger one"),
        (["devices=0..1:log"], "goes from a number to a larger one"),
        (["devices=1ms..2KiB"], "both ends are times"),
        (["devices=1..2", "devices=3"], "one span, or values"),
        (["devices=3", "devices=1..2"], "one span, or values"),
        (["nothing=1..2"], "can vary"),
        ([f"{key}={','.join(map(str, range(300)))}" for key in ("devices", "seed", "kernel")], "27000000 runs"),
    ],
)
def test_what_is_no_space_is_told(vary: list[str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        space(*vary)


def test_axes_survive_json() -> None:
    for axis in (*parse_space(["policy=a,b", "devices=1..9", "seed=1..9:log"]), Axis("kernel", ("6.1",))):
        assert axis_from_json(axis_to_json(axis)) == axis


FILE = """
scenario = "nvme-epyc"
kernel = "7.3"
set = ["drivers[0].probe_type=sync"]
random = 5
seed = 3

[vary]
policy = ["inline", "strict-node"]
devices = "1..8"
"drivers[0].jitter" = [0, 0.5]
"""


def test_a_file_asks_what_options_ask(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text(FILE)
    assert is_sweep_file(str(file))
    words = ["policy=inline,strict-node", "devices=1..8", "drivers[0].jitter=0,0.5"]
    overrides = ("drivers[0].probe_type=sync",)
    asked = SweepQuestion(
        source="nvme-epyc", kernel="7.3", overrides=overrides, axes=parse_space(words), random=5, seed=3
    )
    assert read_question(str(file)) == asked
    assert question_from_json(asked.to_json()) == asked


def test_points_one_by_one(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text(
        'scenario = "nvme-epyc"\n'
        '[[points]]\npolicy = "inline"\ndevices = 2\n'
        '[[points]]\ndevices = 3\npolicy = "spread"\n'
    )
    asked = read_question(str(file))
    assert asked.space().points(0, 9) == [("inline", "2"), ("spread", "3")]
    assert question_from_json(asked.to_json()) == asked


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("scenario =", "scen ="), "scen: no key of a sweep"),
        (('scenario = "nvme-epyc"', ""), "scenario: is missing"),
        (("random = 5", 'random = "5"'), "random: must be a whole number"),
        (("random = 5", "random = 0"), "random: must be at least 1"),
        (("seed = 3", "seed = -3"), "seed: must not be negative"),
        (("[vary]", "[vary"), "is no TOML"),
        (('"1..8"', "[]"), "vary.devices: has no value"),
        (('"1..8"', "[[1]]"), "vary.devices: must be a text or a number"),
        (("devices = ", "nothing = "), "can vary"),
        (("set = [", "set = [1, "), "set: must be a list of texts"),
    ],
)
def test_a_wrong_file_is_told(tmp_path: Path, change: tuple[str, str], told: str) -> None:
    file = tmp_path / "s.toml"
    file.write_text(FILE.replace(*change))
    with pytest.raises((InputError, UsageError), match=told):
        read_question(str(file))


def test_a_scenario_is_no_sweep(tmp_path: Path) -> None:
    from numaprobe.scenario import scenario_source

    file = tmp_path / "s.toml"
    file.write_text(scenario_source("nvme-epyc"))
    assert not is_sweep_file(str(file))
    assert not is_sweep_file(str(tmp_path / "none.toml"))
    assert not is_sweep_file("nvme-epyc")


@pytest.mark.parametrize("vary", ["policy=inline,nothing", "devices[0].nothing=1,2", "machine=nowhere", "kernel=0.1"])
def test_what_would_fail_in_every_run_is_told_at_once(vary: str) -> None:
    asked = SweepQuestion(source="nvme-epyc", axes=parse_space([vary]))
    with pytest.raises(NumaprobeError):
        make_recipe(asked, asked.space())


def test_the_digest_is_of_what_is_run() -> None:
    asked = [
        SweepQuestion(source="nvme-epyc", axes=parse_space(WORDS), random=5, seed=seed, kernel=kernel)
        for seed, kernel in ((1, None), (1, None), (2, None), (1, "6.12"))
    ]
    found = [make_recipe(one, one.space())[1] for one in asked]
    assert found[0] == found[1]
    assert len(set(found)) == 3


def test_only_large_parts_get_a_folder_of_their_own() -> None:
    few = SweepQuestion(
        source="nvme-epyc", axes=parse_space(["policy=inline,spread", "kernel=6.1,6.12", "seed=0..9"]), random=9
    )
    many = SweepQuestion(source="nvme-epyc", axes=few.axes, random=140_000)
    assert make_recipe(few, few.space())[0].keys == ()
    assert make_recipe(many, many.space())[0].keys == ("policy", "kernel")
