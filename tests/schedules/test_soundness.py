"""What is left out by reduction would have shown nothing new: on random small programs all searches find the same."""

from __future__ import annotations

import pytest
from bench.small_programs import SmallProgram, keys_of, searches

from numaprobe.schedules.reduced import Reduced

#: ``python -m bench explore`` compares thousands
PROGRAMS = 100


@pytest.mark.parametrize("first", range(0, PROGRAMS, 20))
def test_reduced_search_and_full_enumeration_find_the_same(first: int) -> None:
    for seed in range(first, first + 20):
        program = SmallProgram(seed).program()
        full, *others = (keys_of(program, search) for search in searches())
        if full is None:
            continue  # too many orders to try all
        for found in others:
            assert found == full, program.name


@pytest.mark.parametrize("seed", [1226, 1391, 2120])
def test_a_work_that_another_task_touches_first_is_the_same_work(seed: int) -> None:
    program = SmallProgram(seed).program()
    full, *others = (keys_of(program, search) for search in searches())
    assert full is not None
    assert others == [full, full]


@pytest.mark.parametrize("spends", [False, True])
def test_both_machines_find_the_same(spends: bool) -> None:
    """Two machines, two loops: an order that one of them leaves out is one that the other one has."""
    for seed in range(40):
        program = SmallProgram(seed, spends=spends)
        virtual, fake = (keys_of(program.program(fake=fake), Reduced(), 3000) for fake in (False, True))
        assert virtual == fake, program.name
