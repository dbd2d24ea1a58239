"""The page about scenarios: its file runs, and every key that a file can have is explained."""

from __future__ import annotations

import re
from pathlib import Path

from numaprobe.scenario import parse_scenario, prepare, run_setting
from numaprobe.scenario.reader import parse_toml
from numaprobe.scenario.schema import TABLES

PAGE = (Path(__file__).parents[2] / "docs" / "scenarios.md").read_text(encoding="utf-8")


def test_the_file_that_is_shown_runs_and_passes_its_checks() -> None:
    text, *_ = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    setting = prepare(parse_scenario(parse_toml(text.encode(), "page"), "page"))
    outcome = run_setting(setting, "probe-workqueue")
    assert [check.passed for check in outcome.checks] == [True]
    assert len(outcome.trace.probes) == 8 + 1 + 4


def test_the_usb_file_that_is_shown_runs_and_passes_its_checks() -> None:
    _, text, *_ = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    outcome = run_setting(prepare(parse_scenario(parse_toml(text.encode(), "page"), "page")), "inline")
    assert [check.passed for check in outcome.checks] == [True, True]
    assert [probe.device for probe in outcome.trace.probes] == ["2-1:1.0", "2-1:1.1"]


def test_every_key_is_explained() -> None:
    keys = {key for table in TABLES.values() for key in table.file_keys()}
    assert {key for key in keys if not re.search(rf"\b{key}\b", PAGE)} == set()
