"""Scenario files, and the one place that joins driver core and machine."""

from numaprobe.scenario.catalogue import Builtin, builtin_names, builtins, load_scenario, scenario_source
from numaprobe.scenario.change import change_scenario
from numaprobe.scenario.costtable import CostTable, cost_table
from numaprobe.scenario.host import host_scenario, machine_scenario
from numaprobe.scenario.loading import Loading, change_loads, loadings, with_binds, with_loads_from
from numaprobe.scenario.plan import RunPlan, make_plan
from numaprobe.scenario.readas import ReadAs
from numaprobe.scenario.reader import parse_override, parse_scenario, read_scenario
from numaprobe.scenario.replay import Lesson, learn, replay_scenario
from numaprobe.scenario.run import Outcome, read_setting, run_scenario, run_setting
from numaprobe.scenario.schema import Scenario
from numaprobe.scenario.setting import Setting, prepare
from numaprobe.scenario.taking import CheckResult
from numaprobe.scenario.write import save_scenario, scenario_toml

__all__ = [
    "Builtin",
    "CheckResult",
    "CostTable",
    "Lesson",
    "Loading",
    "Outcome",
    "ReadAs",
    "RunPlan",
    "Scenario",
    "Setting",
    "builtin_names",
    "builtins",
    "change_loads",
    "change_scenario",
    "cost_table",
    "host_scenario",
    "learn",
    "load_scenario",
    "loadings",
    "machine_scenario",
    "make_plan",
    "parse_override",
    "parse_scenario",
    "prepare",
    "read_scenario",
    "read_setting",
    "replay_scenario",
    "run_scenario",
    "run_setting",
    "save_scenario",
    "scenario_source",
    "scenario_toml",
    "with_binds",
    "with_loads_from",
]
