"""A boot's log, replayed: kernel_init waits for synchronous probes, and for asynchronous ones only at its end."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from boot_logs import Log, flipper, slow_behind_the_root

from numaprobe.errors import InputError
from numaprobe.records import Milestone, Trace, load_trace
from numaprobe.records.json_codec import dump_trace
from numaprobe.scenario import load_scenario
from numaprobe.study import diagnose, make_setting, read_trace, run
from numaprobe.study.advise import Advice, advise, goal_of

MS = 1_000_000


def read(tmp_path: Path, text: str, *until: str) -> Trace:
    path = tmp_path / "boot.log"
    path.write_text(text)
    return read_trace(path, until=until)


def times(trace: Trace) -> dict[str, float]:
    return {one.name: one.time_ns / MS for one in trace.milestones}


def booted(trace: Trace, cmdline: str = "") -> dict[str, float]:
    return times(run(make_setting(trace, cmdline=cmdline)).trace)


def test_a_log_tells_initcalls_their_probes_and_milestones(tmp_path: Path) -> None:
    trace = read(tmp_path, flipper())
    gmac = next(one for one in trace.initcalls if one.function == "rk_gmac_dwmac_driver_init")
    assert gmac.devices == ("2a220000.ethernet", "2a230000.ethernet")
    assert gmac.end_ns - gmac.start_ns == 547_500_000
    assert list(times(trace)) == ["sda and its partitions", "Run /init", "systemd"]


def test_a_replay_of_a_boot_is_the_boot(tmp_path: Path) -> None:
    trace = read(tmp_path, flipper())
    again = run(make_setting(trace)).trace
    assert again.milestones == trace.milestones
    ends = {(one.device, one.attempt): one.end_ns for one in trace.probes}
    assert {(one.device, one.attempt): one.end_ns for one in again.probes} == ends


def test_asynchronous_drivers_move_the_milestones_as_measured(tmp_path: Path) -> None:
    # 4.30 s became 3.13 s, mean of ten boots a side, ranges 4.249-4.362 and 3.073-3.192
    trace = read(tmp_path, flipper())
    after = booted(trace, "driver_async_probe=leds-gpio,rk_gmac-dwmac")["Run /init"]
    assert 3073 <= after <= 3192
    assert list(booted(trace, "driver_async_probe=leds-gpio,rk_gmac-dwmac")) == list(times(trace))


def test_what_is_behind_the_milestone_does_not_move_it(tmp_path: Path) -> None:
    log = Log()
    log.initcall("ufs_init", 1_000, ("ufs", 50_000))
    log.say(" sda: sda1")
    log.initcall("slow_driver_init", 1_000, ("slow", 900_000))
    log.say("Run /init as init process")
    trace = read(tmp_path, log.text)
    before, after = times(trace), booted(trace, "driver_async_probe=slow")
    assert after["sda and its partitions"] == before["sda and its partitions"]
    assert after["Run /init"] == before["Run /init"] - 0.5  # what the initcall does after the probe overlaps it


def test_asynchronous_probes_are_waited_for_at_the_end(tmp_path: Path) -> None:
    log = Log()
    log.initcall("slow_driver_init", 0, ("slow", 900_000))
    log.initcall("other_init", 100_000)
    log.say("Run /init as init process")
    trace = read(tmp_path, log.text)
    assert times(trace) == {"Run /init": 1000.0}
    assert booted(trace, "driver_async_probe=slow") == {"Run /init": 900.0}


def test_a_probe_inside_anothers_time_is_its_childs(tmp_path: Path) -> None:
    log = Log()
    log.say("calling  mdio_host_init+0x0/0x30 @ 1")
    log.now += 30_000
    log.say("probe of mdio-0:00 returned 0 after 20000 usecs")
    log.now += 10_000
    log.say("probe of eth-host returned 0 after 40000 usecs")
    log.say("initcall mdio_host_init+0x0/0x30 returned 0 after 40000 usecs")
    log.say("Run /sbin/init as init process")
    trace = read(tmp_path, log.text)
    again = run(make_setting(trace)).trace
    child = next(one for one in again.probes if one.device == "mdio-0:00")
    assert child.nested
    assert again.milestones == (Milestone("Run /sbin/init", 40 * MS),)


def test_a_retry_runs_in_a_worker_and_not_in_the_initcall_around_it(tmp_path: Path) -> None:
    log = Log()
    log.initcall("a_driver_init", 0, ("a", 1_000, 517))
    log.initcall("deferred_probe_initcall", 10_000)
    log.initcall("z_driver_init", 100_000, ("a", 50_000))
    trace = read(tmp_path, log.text)
    assert [one.devices for one in trace.initcalls] == [("a",), (), ()]
    assert {one.driver for one in trace.probes} == {"a"}


def test_a_text_that_is_looked_for_is_a_milestone(tmp_path: Path) -> None:
    log = Log(now=5_000)
    log.initcall("a_driver_init", 0, ("a", 1_000))
    log.say("Console: switching to colour frame buffer device 240x67")
    assert times(read(tmp_path, log.text, "colour frame buffer", "probe of a ")) == {
        "probe of a ": 6.0,
        "colour frame buffer": 6.0,
    }


def test_a_boot_survives_json(tmp_path: Path) -> None:
    trace = read(tmp_path, flipper())
    assert load_trace(dump_trace(trace)) == trace


@pytest.mark.parametrize("late", [False, True])
def test_deferred_devices_wait_for_late_initcall_while_booting(tmp_path: Path, late: bool) -> None:
    path = tmp_path / "booting.toml"
    path.write_text(
        'machine = "1 node x 2 cores"\nbooting = true\n'
        '[[drivers]]\nname = "first"\nbus = "platform"\n'
        'phases = [{ sleep = "1ms" }, { fail = "EPROBE_DEFER", attempts = 1 }]\n'
        '[[drivers]]\nname = "second"\nbus = "platform"\nphases = [{ sleep = "1ms" }]\n'
        '[[devices]]\nname = "a"\nbus = "platform"\ncompatible = "first"\n'
        '[[devices]]\nname = "b"\nbus = "platform"\ncompatible = "second"\n'
        '[[steps]]\nadd = ["a", "b"]\n[[steps]]\nregister = "first"\n[[steps]]\nregister = "second"\n'
        '[[steps]]\nwait = "10ms"\n'
        + ("[[steps]]\nlate_initcall = true\n" if late else "")
        + '[[steps]]\nmark = "end"\n'
    )
    trace = run(make_setting(load_scenario(str(path)))).trace
    assert [one.result for one in trace.probes if one.device == "a"] == ["EPROBE_DEFER", *(["0"] if late else [])]
    assert times(trace) == {"end": 13.0 if late else 12.0}


def drivers_of(advice: Advice) -> set[str]:
    return {choice.driver for choice in advice.recommended.trial.selection} if advice.recommended else set()


def advised(trace: Trace, until: str | None = None) -> Advice:
    return advise(make_setting(trace), recorded=trace, goal=goal_of(until, trace))


def test_the_public_case_is_advised_as_its_author_did(tmp_path: Path) -> None:
    advice = advised(read(tmp_path, flipper()))
    assert drivers_of(advice) == {"leds-gpio", "rk_gmac-dwmac"}
    assert advice.goal.name == "Run /init"
    measured = 1170 * MS
    expected = advice.base.makespan_ns - advice.recommended.trial.makespan_ns
    assert abs(expected - measured) <= 0.2 * measured
    assert advice.recommended.sure
    low, high = advice.recommended.trial.makespan_range()
    assert low <= (advice.base.makespan_ns - measured) * 1.01
    assert high >= 3192 * MS  # the slowest of the author's ten boots
    trial = advice.recommended.trial
    for one in trial.milestones:  # each has a range, that of the goal itself for the goal
        least, most = trial.milestone_range(one)
        assert least <= one.time_ns <= most
        assert least < most
        assert (trial.earlier(advice.base, one.name) or (0, 0))[0] > 0
    reached = next(one for one in trial.milestones if one.name == advice.goal.name)
    assert trial.milestone_range(reached) == trial.makespan_range()
    assert trial.earlier(advice.base, "not a milestone") is None
    moved = {one.name: one.time_ns for one in trial.milestones}
    assert list(moved) == [one.name for one in advice.base.milestones]
    assert all(moved[one.name] < one.time_ns for one in advice.base.milestones)
    assert [line.text for line in advice.recommended.lines] == ["driver_async_probe=leds-gpio,rk_gmac-dwmac"]
    assert ("ufshcd-rockchip", "root") in [(one.driver, str(one.reason)) for one in advice.kept_out]


def test_a_driver_behind_what_is_waited_for_would_not_help(tmp_path: Path) -> None:
    trace = read(tmp_path, slow_behind_the_root())
    assert drivers_of(advised(trace)) == {"slow"}
    nothing = advised(trace, "sda")
    assert nothing.recommended is None
    assert nothing.verdict.startswith("Nothing here would help")
    assert "51.000 ms until sda and its partitions" in nothing.verdict
    assert nothing.daring is None


def test_a_device_or_any_line_can_be_waited_for(tmp_path: Path) -> None:
    trace = read(tmp_path, slow_behind_the_root(), "initcall last_init")
    assert drivers_of(advised(trace, "initcall last_init")) == {"slow"}
    assert goal_of("ufs", trace).device == "ufs"
    assert advised(trace, "ufs").recommended is None


def test_what_the_log_does_not_tell_cannot_be_waited_for(tmp_path: Path) -> None:
    trace = read(tmp_path, slow_behind_the_root())
    with pytest.raises(InputError, match="no milestone, device or line 'login' in the log; it has sda and its"):
        goal_of("login", trace)


def test_where_root_is_not_told_disks_stay_as_they_are(tmp_path: Path) -> None:
    text = flipper().replace("root=/dev/sda2", "root=UUID=17")
    (kept,) = [one for one in advised(read(tmp_path, text)).kept_out if one.driver == "ufshcd-rockchip"]
    assert kept.text == "the root file system may be on a device of it: root=UUID=17 does not say"


def test_guessed_names_are_a_limit(tmp_path: Path) -> None:
    unnamed = re.sub(" with driver [^ ]+", "", flipper())
    assert any("guessed from their initcalls" in line for line in advised(read(tmp_path, unnamed)).limits)
    assert not any("guessed from their initcalls" in line for line in advised(read(tmp_path, flipper())).limits)


def test_a_log_tells_which_computer_and_firmware_it_was(tmp_path: Path) -> None:
    line = "[    0.000000] DMI: ACME Storage 9/0ABC12, BIOS 2.5.6 10/06/2021"
    log = tmp_path / "boot.log"
    log.write_text(flipper().replace("[    0.040000] smp:", f"{line}\n[    0.040000] smp:"))
    info = read_trace(log).machine["info"]
    assert (info["product"], info["firmware"]) == ("ACME Storage 9", "2.5.6 10/06/2021")


# ---- logs that name no tasks -----------------------------------------------------------------------------------------
def overlapping(*spans: tuple[str, int, int]) -> str:
    """A driver's probes, as the log tells them when they are over: device, begin and end in ms."""
    log = Log(now=1_000)
    log.say("calling  nvme_init+0x0/0x30 @ 1")
    for device, begin, end in sorted(spans, key=lambda one: one[2]):
        log.now = end * 1000
        log.say(f"probe of {device} with driver nvme returned 0 after {(end - begin) * 1000} usecs")
    log.now += 1_000
    log.say(f"initcall nvme_init+0x0/0x30 returned 0 after {log.now - 1_000} usecs")
    return log.text


def test_a_log_of_nothing_but_other_tasks_probes_is_no_boot(tmp_path: Path) -> None:
    log = Log(now=1_000)
    log.initcall("nvme_init", 1_000)
    log.now = 50_000
    log.say("probe of a with driver nvme returned 0 after 10000 usecs")
    with pytest.raises(InputError, match="none of its probes ran in an initcall of kernel_init"):
        make_setting(read(tmp_path, log.text))


@pytest.mark.parametrize(
    ("spans", "asynchronous"),
    [
        ([("a", 10, 50), ("b", 20, 60)], True),
        ([("a", 10, 50), ("b", 50, 60)], False),
        # one within the other's time may be a child's
        ([("a", 10, 50), ("b", 20, 40)], False),
        ([("a", 10, 50), ("b", 20, 40), ("c", 30, 45)], True),
    ],
)
def test_probes_that_overlap_were_asynchronous_though_no_task_is_named(
    tmp_path: Path, spans: list[tuple[str, int, int]], asynchronous: bool
) -> None:
    scenario = make_setting(read(tmp_path, overlapping(*spans)), machine="1 node x 4 cores").scenario
    (driver,) = [one for one in scenario.drivers if one.name == "nvme"]
    assert (driver.probe_type == "async") is asynchronous


def test_a_real_log_of_asynchronous_drives_is_not_told_to_make_them_asynchronous() -> None:
    log = Path(__file__).parents[1] / "data/kernel/initcall/debian-7.2.log"
    trace = diagnose(read_trace(log, machine="2 nodes x 2 cores"))
    assert not any("driver_async_probe" in one.advice for one in trace.findings)
    setting = make_setting(read_trace(log), machine="2 nodes x 2 cores")
    again = run(setting).trace
    drives = [one for one in again.probes if one.driver == "nvme"]
    assert len(drives) == 3
    assert all(one.asynchronous for one in drives)
