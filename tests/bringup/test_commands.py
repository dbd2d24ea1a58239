"""The commands that act, in this process, on a machine in a folder: what they write, say, save and exit with."""

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import jsonschema
import pytest
from bringup_world import BringupWorld

from numaprobe.bringup.guard import Guard
from numaprobe.bringup.plan import Plan, load_plan
from numaprobe.bringup.tools import BringupTools
from numaprobe.cli.bringup import OpenedMachine
from numaprobe.cli.main import run_command
from numaprobe.records import json_schema, load_trace

Run = Callable[..., tuple[str, str]]


@pytest.fixture
def run(world: BringupWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Return a function that runs a command line on the world; it returns what was printed and what was said."""
    kernel = world.kernel

    def tools_for(plan: Plan | None = None, *, state: Path | None = None, root: Path | None = None) -> BringupTools:
        assert root is None
        guard = Guard(kernel.sysfs, kernel, plan.allowances if plan else ())
        return BringupTools(
            state=state or world.state,
            clock=world.clock,
            sysfs=kernel.sysfs,
            writer=world.writer,
            recheck=lambda change: guard.recheck(change, plan or Plan()),
        )

    monkeypatch.setattr("numaprobe.cli.act.open_machine", lambda _root=None: OpenedMachine(kernel.sysfs, kernel))
    monkeypatch.setattr("numaprobe.bringup.session.tools_for", tools_for)
    monkeypatch.setattr("numaprobe.bringup.clock.system_clock", lambda: world.clock)

    def call(*arguments: object, code: int = 0) -> tuple[str, str]:
        found = run_command([str(one) for one in arguments])
        world.reload()
        printed, said = capsys.readouterr()
        assert found == code, printed + said
        return printed, said

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads, which the runner of tests has
        yield call


def test_bind_prints_what_became_of_each(world: BringupWorld, run: Run) -> None:
    names = world.pci(3)
    world.kernel.fails[names[2]] = 5
    printed, _ = run("bind", *names, "--driver", "nvme", code=1)
    assert list(world.drivers().values()) == ["nvme", "nvme", None]
    lines = printed.splitlines()
    assert lines[0].startswith("2 of 3 changes as asked, in ")
    assert [line.split()[:4] for line in lines[3:6]] == [
        [names[0], "bind", "verified", "nvme"],
        [names[1], "bind", "verified", "nvme"],
        [names[2], "bind", "undone", "none"],
    ]
    assert f"bind pci/{names[2]}: bind nvme: EIO" in printed


def test_a_dry_run_writes_nothing(world: BringupWorld, run: Run) -> None:
    names = world.pci(2)
    printed, _ = run("bind", *names, "--driver", "nvme", "--dry-run")
    assert printed.startswith("2 changes")
    assert world.kernel.writes == []
    assert not world.state.exists()


def test_a_saved_plan_is_carried_out_later(world: BringupWorld, run: Run, tmp_path: Path) -> None:
    names = world.pci(2)
    file = tmp_path / "plan.json"
    _, said = run("bind", *names, "--driver", "nvme", "--save-plan", file)
    assert said == f"2 changes in {file}; do them: numaprobe bind --plan {file}\n"
    assert world.kernel.writes == []
    assert len(load_plan(file.read_bytes(), "plan").changes) == 2
    run("bind", "--plan", file)
    assert set(world.drivers().values()) == {"nvme"}


def test_what_happened_is_a_trace(world: BringupWorld, run: Run) -> None:
    names = world.pci(2)
    trace = load_trace(run("bind", *names, "--driver", "nvme", "--json")[0].encode(), "bind")
    assert sorted(record.device for record in trace.probes) == names
    assert (trace.source, trace.scenario, trace.policy) == ("kernel", "bind", "migrate-caller")
    page = run("rebind", *names, "--format", "html")[0]
    assert "<html" in page
    assert names[0] in page


def test_unbind_and_history(world: BringupWorld, run: Run) -> None:
    names = world.pci(2, "nvme")
    printed, _ = run("unbind", *names)
    assert printed.startswith("2 of 2 changes as asked")
    told = json.loads(run("history", "--state", world.state, "--json")[0])
    jsonschema.validate(told, json_schema("numaprobe.history/1"))
    assert [one["step"] for one in told["runs"][0]["changes"]] == ["verified", "verified"]
    assert told["runs"][0]["command"] == "unbind"


def test_a_refused_device_is_left_with_its_reason_and_flag(world: BringupWorld, run: Run) -> None:
    first, second = world.pci(2, "nvme")
    world.kernel.block(first, "nvme0n1", "259:0")
    world.kernel.mount("259:0", "/data", "ext4", "/dev/nvme0n1")
    printed, _ = run("unbind", first, second, code=1)
    assert f"{first}: refused" in printed
    assert "is mounted on /data (ext4)" in printed
    assert world.drivers() == {first: "nvme", second: None}
    run("unbind", first, "--allow", f"{first}=mounted")
    assert world.drivers()[first] is None


def test_a_try_says_how_to_keep_it(world: BringupWorld, run: Run) -> None:
    (name,) = world.pci(1)
    _, said = run("bind", name, "--driver", "nvme", "--try", "1000s")
    assert "numaprobe confirm" in said
    _, said = run("unbind", name, code=3)
    assert "waits for a word" in said
    printed, _ = run("confirm")
    assert printed.endswith("stays: 1 verified\n")


def test_recover_undoes_a_try(world: BringupWorld, run: Run) -> None:
    (name,) = world.pci(1)
    run("bind", name, "--driver", "nvme", "--try", "1000s")
    found = json.loads(run("recover", "--json")[0])
    jsonschema.validate(found, json_schema("numaprobe.recovery/1"))
    assert [(one["device"], one["step"], one["driver"]) for one in found["devices"]] == [
        (f"pci/{name}", "undone", None)
    ]
    assert world.drivers() == {name: None}
    assert run("recover")[0] == "nothing is open\n"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["bind"], "bind what?"),
        (["bind", "../../etc"], "cannot be the name of a device"),
        (["bind", "nosuch"], "nosuch"),
        (["unbind", "driver=nosuch"], "nosuch"),
        (["bind", "--plan", "nowhere.json"], "nowhere.json: is not there"),
        (["bind", "x", "--plan", "p"], "--plan says which devices"),
        (["bind", "x", "--policy", "spread"], "policy 'spread' is not a writer's"),
        (["bind", "x", "--memory"], "--memory belongs to --record"),
        (["bind", "x", "--root", "elsewhere"], "--root is for looking"),
        (["bind", "0000:81:00.0", "--allow", "x"], "allows nothing"),
        (["bind", "0000:81:00.0", "--deadline", "soon"], "'soon' is not a time"),
        (["bind", "0000:81:00.0", "--try", "-1s"], "is not a time"),
        (["bind", "0000:81:00.0", "--jobs", "0"], "--jobs"),
    ],
)
def test_bad_usage_is_one_line(world: BringupWorld, run: Run, arguments: list[str], text: str) -> None:
    world.pci(1)
    printed, said = run(*arguments, code=3 if "driver=nosuch" in arguments else 2)
    assert printed == ""
    assert text in said
    assert said.count("\n") == 1
    assert world.kernel.writes == []


def test_history_and_recovery_as_tables(world: BringupWorld, run: Run) -> None:
    bound, failed = world.pci(2)
    world.kernel.fails[failed] = 5
    run("bind", bound, failed, "--driver", "nvme", "--try", "1000s", code=1)
    printed, _ = run("history", "--state", world.state)
    assert "1 verified, 1 undone" in printed
    assert "waits for confirm" in printed
    printed, _ = run("recover")
    assert [line.split()[1:3] for line in printed.splitlines()[1:2]] == [[f"pci/{bound}", "undone"]]
    (told,) = world.history.runs
    printed, _ = run("history", told.id, "--state", world.state)
    rows = {line.split()[1]: line.split()[2:5] for line in printed.splitlines() if line.startswith("bind ")}
    assert rows == {f"pci/{bound}": ["none", "nvme", "undone"], f"pci/{failed}": ["none", "nvme", "undone"]}
    _, said = run("history", "nosuch", "--state", world.state, code=2)
    assert "unknown run 'nosuch'" in said


def test_a_driver_that_is_not_loaded_is_named_with_its_modprobe(world: BringupWorld, run: Run) -> None:
    (name,) = world.pci(1)
    _, said = run("bind", name, "--driver", "ixgbe", code=3)
    assert "modprobe ixgbe" in said
    assert said.count("\n") == 1


def test_a_plan_that_is_none_is_one_line(world: BringupWorld, run: Run, tmp_path: Path) -> None:
    for text in ("", "{}", "[1]", '{"schema": "numaprobe.plan/1", "changes": [{"device": "devices/../x"}]}'):
        (tmp_path / "plan").write_text(text)
        _, said = run("bind", "--plan", tmp_path / "plan", code=2)
        assert said.count("\n") == 1
