"""Records and traces for the codecs' tests: every field set, and Hypothesis' strategies of hostile ones."""

from hypothesis import strategies as st

from numaprobe.records import (
    Aim,
    Figures,
    Finding,
    Identity,
    Initcall,
    LockWait,
    Milestone,
    ProbeRecord,
    Reading,
    Remedy,
    RunState,
    RunWarning,
    Segment,
    Severity,
    SharedHold,
    Trace,
)
from numaprobe.records.ranges import MAX_TIME_NS

FULL = ProbeRecord(
    device="0000:81:00.0",
    driver="nvme",
    bus="pci",
    device_node=1,
    cpu=4,
    cpu_node=1,
    comm="kworker/4:1",
    asynchronous=True,
    nested=False,
    result="0",
    start_ns=1_000,
    end_ns=1_700,
    cost_ns=700,
    running_ns=400,
    runnable_ns=100,
    sleeping_ns=200,
    cpus=(4, 5),
    remote_ns=0,
    caller_cpu=0,
    caller_comm="insmod",
    function="nvme_probe",
    path="driver_attach_async",
    memory={0: 4096, 1: 8192},
    attempt=2,
    segments=(
        Segment(1_000, 1_400, RunState.RUNNING, 4),
        Segment(1_400, 1_500, RunState.RUNNABLE, 4),
        Segment(1_500, 1_700, RunState.SLEEPING, 5),
    ),
    lock_wait_ns=150,
    waits=(LockWait("acpi_ex_enter_interpreter", "0000:82:00.0", 2, 100, 70), LockWait("ffff8881", None, 1, 50, 50)),
)
BARE = ProbeRecord(device="virtio0", driver="virtio_blk", cost_ns=5)
TRACE = Trace(
    source="kernel",
    kernel="7.2.12",
    policy="probe-workqueue",
    scenario="async",
    identity=Identity(
        host="db-7",
        machine_id="be36e29d323c4930a524db243e7c21f1",
        date="2026-11-21T19:50:55Z",
        build="#1 SMP PREEMPT_DYNAMIC Debian 7.2.12-1 (2026-11-04)",
        command="modprobe nvme",
        numaprobe="0.1.0",
        label="before",
    ),
    machine={"name": "two-nodes", "nodes": [{"id": 0}, {"id": 1}]},
    probes=(FULL, BARE),
    findings=(Finding(kind="same-cpu", devices=("a", "b"), evidence={"waited_ns": 3, "cpus": [4]}, advice="Move."),),
    warnings=(RunWarning(kind="lost-events", message="2 lost", time_ns=7),),
    shared=(
        SharedHold(
            resource="acpi_ex_enter_interpreter",
            hold_ns=82,
            hold_range_ns=(75, 90),
            members=("nvme",),
            by_member={"nvme": 82},
            slowdown=0.1,
            slowdown_range=(0.0, 0.25),
            takes=210,
            evidence="seen",
            source="lock-events",
        ),
    ),
    readings=(Reading("nothing is shared", 500, 300), Reading("all is shared", 700, None)),
)

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
#: the largest times and sizes that a record may hold
figures = st.integers(0, MAX_TIME_NS)
cpus = st.integers(0, 8191)


def maybe(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.none() | strategy


segments = st.builds(
    lambda start, length, state, cpu: Segment(start, start + length, state, cpu),
    st.integers(0, 2**60),
    st.integers(0, 2**60),
    st.sampled_from(RunState),
    cpus,
)
waits = st.builds(
    LockWait, lock=names, held_by=maybe(names), times=st.integers(0, 2**40), wait_ns=figures, longest_ns=figures
)
holds = st.builds(
    SharedHold,
    resource=names,
    hold_ns=figures,
    hold_range_ns=st.tuples(figures, figures).map(sorted).map(tuple),
    members=st.lists(names, max_size=3).map(tuple),
    by_member=st.dictionaries(names, figures, max_size=3),
    slowdown=st.floats(0, 100),
    slowdown_range=st.tuples(st.floats(0, 100), st.floats(0, 100)).map(sorted).map(tuple),
    takes=maybe(st.integers(0, 2**40)),
    evidence=st.sampled_from(["seen", "suspected"]),
    source=st.sampled_from(["lock-events", "wake-ups", "two-traces", "timeline", "scenario"]),
)


@st.composite
def records(draw: st.DrawFn) -> ProbeRecord:
    start = draw(maybe(st.integers(0, MAX_TIME_NS)))
    return ProbeRecord(
        device=draw(names),
        driver=draw(names),
        bus=draw(maybe(names)),
        device_node=draw(maybe(st.integers(-1, 1023))),
        cpu=draw(maybe(cpus)),
        cpu_node=draw(maybe(st.integers(-1, 1023))),
        comm=draw(maybe(names)),
        asynchronous=draw(maybe(st.booleans())),
        nested=draw(maybe(st.booleans())),
        result=draw(maybe(st.sampled_from(["0", "ENODEV", "EPROBE_DEFER"]))),
        start_ns=start,
        end_ns=None if start is None else start + draw(st.integers(0, MAX_TIME_NS - start)),
        cost_ns=draw(figures),
        running_ns=draw(maybe(figures)),
        cpus=draw(maybe(st.lists(cpus, max_size=4).map(tuple))),
        memory=draw(maybe(st.dictionaries(st.integers(-1, 1023), figures, max_size=3))),
        attempt=draw(st.integers(1, 1000)),
        segments=draw(maybe(st.lists(segments, max_size=3).map(tuple))),
        lock_wait_ns=draw(maybe(figures)),
        waits=draw(maybe(st.lists(waits, max_size=3).map(tuple))),
    )


times = st.integers(0, MAX_TIME_NS)


@st.composite
def initcalls(draw: st.DrawFn) -> Initcall:
    start, end = sorted([draw(times), draw(times)])
    devices = draw(st.lists(names, max_size=3).map(tuple))
    return Initcall(function=draw(names), module=draw(maybe(names)), start_ns=start, end_ns=end, devices=devices)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
shares = st.floats(0, 1)
outcomes = st.builds(
    Figures,
    makespan_ns=maybe(figures),
    worst_ns=maybe(figures),
    local_share=maybe(shares),
    drawn_share=maybe(shares),
    remote_ns=maybe(figures),
)
percents = st.floats(-100, 1000)
#: those that were run: the others are not written
remedies = st.builds(
    Remedy,
    aim=st.sampled_from(Aim),
    policy=maybe(names),
    parameter=maybe(names),
    load_from=maybe(names),
    caution=names,
    before=maybe(outcomes),
    after=outcomes,
    makespan_range_percent=maybe(st.tuples(percents, percents)),
)
some_names = st.lists(names, max_size=3).map(tuple)
run_warnings = st.builds(RunWarning, kind=names, message=names, time_ns=maybe(figures), devices=some_names)
traces = st.builds(
    Trace,
    source=st.sampled_from(["virtual", "host", "kernel"]),
    probes=st.lists(records(), max_size=4).map(tuple),
    kernel=maybe(names),
    policy=maybe(names),
    scenario=maybe(names),
    identity=maybe(st.builds(Identity, **dict.fromkeys(Identity.__dataclass_fields__, maybe(names)))),
    machine=st.dictionaries(names, json_values, max_size=3),
    findings=st.lists(
        st.builds(
            Finding,
            kind=names,
            devices=st.lists(names, max_size=3).map(tuple),
            evidence=st.dictionaries(names, json_values, max_size=3),
            advice=names,
            severity=st.sampled_from(Severity),
            remedies=st.lists(remedies, max_size=2).map(tuple),
        ),
        max_size=2,
    ).map(tuple),
    warnings=st.lists(
        st.builds(RunWarning, kind=names, message=names, time_ns=maybe(figures), devices=some_names), max_size=2
    ).map(tuple),
    shared=st.lists(holds, max_size=2).map(tuple),
    readings=st.lists(st.builds(Reading, names, maybe(figures), maybe(figures)), max_size=3).map(tuple),
    initcalls=st.lists(initcalls(), max_size=3).map(tuple),
    milestones=st.lists(st.builds(Milestone, names, times), max_size=3).map(tuple),
)
