"""``run_many``: any map, the same list; a run that fails, or cannot travel, is a value."""

from __future__ import annotations

import gc
import multiprocessing
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from numaprobe.errors import BodyError, InputError, InternalError, PolicyError, RefusedError, UsageError
from numaprobe.policies import Policy
from numaprobe.study import Progress, Run, make_setting, run, run_many, variations, vary
from numaprobe.virtual import VirtualMachine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numaprobe.scenario import Setting

SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True, kw_only=True)
class Broken(Policy):
    """Raises in its first probe."""

    name: ClassVar[str] = "broken-in-a-test"

    def probe_device(self, at: Any, dev: Any, function: Any, *, is_async: bool) -> Any:
        raise ZeroDivisionError(dev.name)


@dataclass(frozen=True, kw_only=True)
class StaysHere(Policy):
    """Cannot be pickled."""

    name: ClassVar[str] = "stays-here"

    def __reduce__(self) -> Any:
        raise TypeError("not for other processes")


@pytest.fixture(scope="module")
def settings() -> list[Setting]:
    base = make_setting("nvme-epyc")
    good = variations(base, policy=["work-on-cpu", "strict-node"], devices=[1, 5])
    late = vary(base, {"steps": [{"expect_bound": "nobody"}]})
    return [*good[:2], vary(base, policy=Broken()), late, *good[2:]]


@pytest.fixture(scope="module")
def expected(settings: list[Setting]) -> list[Run]:
    return run_many(settings)


def test_results_are_those_of_single_runs_and_a_failure_is_one_of_them(expected: list[Run]) -> None:
    assert [type(one.error) for one in expected] == [type(None)] * 2 + [PolicyError, InputError] + [type(None)] * 2
    assert "ZeroDivisionError" in str(expected[2].error)
    assert [one.outcome for one in expected if one.error is None] == [
        run(one.setting) for one in expected if one.error is None
    ]
    with pytest.raises(PolicyError):
        _ = expected[2].trace
    assert [len(one.failures) for one in expected] == [0, 0, 1, 1, 0, 0]


def test_multiprocessing_pools(settings: list[Setting], expected: list[Run]) -> None:
    with SPAWN.Pool(2) as pool:
        for mapped in (pool.map, pool.imap, pool.imap_unordered):
            assert run_many(settings, map=mapped) == expected


def test_executors(settings: list[Setting], expected: list[Run]) -> None:
    with ThreadPoolExecutor(2) as threads:
        assert run_many(settings, map=threads.map) == expected
    with ProcessPoolExecutor(2, mp_context=SPAWN) as processes:
        assert run_many(settings, map=processes.map) == expected


class LikeDask:
    """``Client.map``: futures, in the order of what they are of."""

    def __init__(self, pool: Executor) -> None:
        self._pool = pool

    def map(self, function: Callable[..., Any], items: Iterable[Any]) -> list[Future[Any]]:
        return [self._pool.submit(function, item) for item in items]


def test_a_map_that_gives_futures(settings: list[Setting], expected: list[Run]) -> None:
    with ThreadPoolExecutor(2) as threads:
        assert run_many(settings, map=LikeDask(threads).map) == expected


def backwards(function: Callable[..., Any], items: Iterable[Any]) -> Iterator[Any]:
    return map(function, list(items)[::-1])


def test_the_order_of_answers_changes_nothing(settings: list[Setting], expected: list[Run]) -> None:
    assert run_many(settings, map=backwards) == expected


def test_what_cannot_travel_is_a_failed_run_and_the_others_are_run(settings: list[Setting]) -> None:
    mixed = [settings[0], vary(settings[0], policy=StaysHere()), settings[1]]
    with ThreadPoolExecutor(1) as threads:
        first, middle, last = run_many(mixed, map=threads.map)
    assert (first.error, last.error) == (None, None)
    assert isinstance(middle.error, UsageError)
    assert "stays-here cannot be sent to another process: TypeError: not for other processes" in str(middle.error)
    assert run_many(mixed)[1].error is None  # nobody sends it


def breaks_after(count: int) -> Callable[..., Iterator[Any]]:
    def mapped(function: Callable[..., Any], items: Iterable[Any]) -> Iterator[Any]:
        for index, item in enumerate(items):
            if index == count:
                raise BrokenProcessPool("a worker died")
            yield function(item)

    return mapped


def test_an_executor_that_breaks_owes_only_what_it_did_not_give(settings: list[Setting], expected: list[Run]) -> None:
    runs = run_many(settings, map=breaks_after(2))
    assert runs[:2] == expected[:2]
    assert {type(one.error) for one in runs[2:]} == {RefusedError}
    assert all("BrokenProcessPool: a worker died" in str(one.error) for one in runs[2:])
    assert all(isinstance(one.error, RefusedError) for one in run_many(settings, map=lambda _f, _items: []))


def test_one_lost_future_is_one_failed_run(settings: list[Setting], expected: list[Run]) -> None:
    def mapped(function: Callable[..., Any], items: Iterable[Any]) -> list[Future[Any]]:
        futures: list[Future[Any]] = [Future() for _ in items]
        for index, (future, item) in enumerate(zip(futures, items, strict=True)):
            if index == 1:
                future.set_exception(OSError("worker lost"))
            else:
                future.set_result(function(item))
        return futures

    runs = run_many(settings, map=mapped)
    assert "worker lost" in str(runs[1].error)
    assert [*runs[:1], *runs[2:]] == [*expected[:1], *expected[2:]]


def test_an_error_that_is_none_of_ours_is_a_value_that_names_its_place(
    settings: list[Setting], monkeypatch: pytest.MonkeyPatch
) -> None:
    def raises(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("here")

    monkeypatch.setattr("numaprobe.study.runs.run_setting", raises)
    (one,) = run_many(settings[:1])
    assert isinstance(one.error, InternalError)
    assert "ZeroDivisionError: here (" in str(one.error)
    assert "test_study_run_many.py:" in str(one.error)


def test_progress_is_told_before_and_after_each(settings: list[Setting], expected: list[Run]) -> None:
    told: list[Progress] = []
    run_many(settings, progress=told.append)
    assert [one.done for one in told] == list(range(len(settings) + 1))
    assert {one.total for one in told} == {len(settings)}
    assert [one.last for one in told] == [None, *expected]
    assert [one.next for one in told] == [*settings, None]
    told.clear()
    run_many(settings, map=backwards, progress=told.append)
    assert [one.next for one in told] == [settings[0]] * len(settings) + [None]
    assert run_many([], progress=told.append) == []


def test_a_run_without_anything_is_our_bug(settings: list[Setting]) -> None:
    with pytest.raises(InternalError):
        _ = Run(setting=settings[0]).result
    assert replace(Run(setting=settings[0]), error=BodyError("x")).failures == ["x"]


def test_machines_of_runs_that_are_over_do_not_pile_up() -> None:
    """A machine is a circle of objects: the collector must get to see it although it does not look during runs."""
    base = make_setting("nvme-epyc")
    most = 0
    gc.collect()
    gc.freeze()  # the collector looks the more seldom, the more objects there are: those of other tests do not count
    try:
        for _ in range(10):
            run_many([base] * 30)
            most = max(most, sum(type(one) is VirtualMachine for one in gc.get_objects()))
    finally:
        gc.unfreeze()
    assert most < 100
