"""A scenario in a guest: boot a kernel in QEMU, record there, and hold it against the prediction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from numaprobe.analysis.agreement import judge
from numaprobe.errors import InputError, RefusedError
from numaprobe.kernel.lab.atboot import recording_boot
from numaprobe.runtime import closest_profile
from numaprobe.scenario import prepare
from numaprobe.scenario.guest import as_the_kernel_does, guest_names, guest_plan, with_recorded_costs
from numaprobe.scenario.inkernel import MARK, PCI_BODY, fitting_factor, module_plan
from numaprobe.study.alone import shown_alone
from numaprobe.study.deviation import PredictedCase, deviation_lines, deviations, smallest_difference
from numaprobe.study.following import explanations
from numaprobe.topology import from_json

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from numaprobe.analysis.agreement import Agreement
    from numaprobe.kernel.lab.guest import GuestResult
    from numaprobe.kernel.lab.plan import GuestPlan
    from numaprobe.kernel.lab.tools import KernelImage
    from numaprobe.records import RunWarning, Trace
    from numaprobe.runtime.profile import KernelProfile
    from numaprobe.scenario import Scenario
    from numaprobe.scenario.inkernel import ModulePlan
    from numaprobe.study.deviation import SmallestDifference
    from numaprobe.study.following import Explanation
    from numaprobe.study.guests import Booting, GuestOptions


#: the probe functions of the lab's PCI drivers
_PCI_BODIES: Final = {"nvme": "nvme_probe"}


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestSetting:
    """A scenario as a guest will take it."""

    scenario: Scenario
    plan: GuestPlan
    options: GuestOptions
    #: with devices and drivers of the lab's own module; None: QEMU's devices
    module: ModulePlan | None = None

    @property
    def profile(self) -> KernelProfile:
        """What a stock kernel of this release does."""
        return closest_profile(self.options.image.release)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestCheck:
    """What a guest recorded, beside what the virtual machine predicts for the same costs."""

    report: Agreement
    predicted: Trace
    #: the policy that was predicted, and the one of a stock kernel of this release
    policy: str
    stock: str
    #: every policy, held against the recording; empty if one was chosen
    follows: tuple[Explanation, ...] = ()


def guest_setting(scenario: Scenario, options: GuestOptions, *, machine: str | None = None) -> GuestSetting:
    """Return a scenario as this kernel will take it in a guest.

    Args:
        scenario: what happens there.
        options: see ``guest_options``.
        machine: in place of the scenario's.

    Raises:
        InputError: the machine cannot be emulated, or a step cannot be taken in a guest.

    """
    version, built_in = options.image.version, options.image.built_in
    scenario = as_the_kernel_does(scenario, version, built_in)
    topology = prepare(scenario, machine=machine).plan.topology
    plan = guest_plan(scenario, topology, version, built_in)
    if plan.at_boot:
        bodies = _pci_bodies(options.image, plan.at_boot)
        plan = replace(plan, cmdline=" ".join([plan.cmdline, *recording_boot(options.image, bodies)]).strip())
    return GuestSetting(scenario=scenario, plan=plan, options=options)


def module_setting(
    scenario: Scenario,
    options: GuestOptions,
    *,
    machine: str | None = None,
    factor: int | None = None,
    told: Callable[[str], object] = lambda _: None,
) -> GuestSetting:
    """Return a scenario as a guest takes it that has its devices and drivers from the lab's own module.

    Args:
        scenario: what happens there.
        options: see ``guest_options``.
        machine: in place of the scenario's.
        factor: how many times as long everything takes; None: as ``fitting_factor`` says.
        told: gets a line before something that takes a while.

    Raises:
        InputError: the machine cannot be emulated, or no module can do what the scenario says.
        MissingInterfaceError: the module cannot be built here.
        RefusedError: it does not build, or its kernel's headers cannot be fetched.

    """
    from numaprobe.kernel.lab.testmodule import built_module

    topology = prepare(scenario, machine=machine).plan.topology
    plan = module_plan(scenario, topology, factor=fitting_factor(scenario) if factor is None else factor)
    plan = plan.with_module(built_module(options.image, told=told).read_bytes())
    return GuestSetting(scenario=plan.scenario, plan=plan.guest, options=options, module=plan)


def record_in_guest(
    setting: GuestSetting, record: Sequence[str] = (), *, told: Callable[[Booting], object] | None = None
) -> GuestResult:
    """Boot a guest, record the scenario there, and return what it brought home.

    Args:
        setting: see ``guest_setting``.
        record: further options of ``numaprobe record``: ``--memory``.
        told: called before the boot.

    Raises:
        RefusedError: the guest panicked, hung, or could not be started; the text names the console's file.

    """
    from numaprobe.kernel.lab.guest import run_guest

    with setting.options.guest(told) as shared:
        result = run_guest(setting.plan, record=[*record, *_timed(_own_functions(setting))], **shared)
    return result if setting.module is None else replace(result, trace=setting.module.as_named(result.trace))


def record_together(
    settings: Sequence[GuestSetting], record: Sequence[str] = (), *, told: Callable[[Booting], object] | None = None
) -> list[GuestResult | RefusedError]:
    """Boot one guest and record several scenarios there, one after the other.

    Returns:
        What each brought home, or why it brought nothing.

    Args:
        settings: with the lab's module each, of one machine, command line and kernel.
        record: see ``record_in_guest``.
        told: called before the boot.

    Raises:
        RefusedError: the guest could not be started, or left no trace.

    """
    from numaprobe.kernel.lab.guest import run_together

    own = [function for each in settings for function in _own_functions(each)]
    plans = [setting.module.with_mark() for setting in settings if setting.module is not None]
    with settings[0].options.guest(told) as shared:
        together = run_together([plan.guest for plan in plans], record=[*record, *_timed(own)], **shared)
    return [
        _part(together.result, plan, index, failed)
        for index, (plan, failed) in enumerate(zip(plans, together.failed, strict=True))
    ]


def _part(
    whole: GuestResult, plan: ModulePlan, index: int, failed: tuple[RunWarning, ...]
) -> GuestResult | RefusedError:
    """Return what was recorded between two marks: the probes of one scenario, with its failures and the guest's."""
    marks = sorted(probe.start_ns or 0 for probe in whole.trace.probes if probe.driver == MARK)
    if index >= len(marks):
        return RefusedError("the guest did not come so far")
    first, last = (marks[index - 1] if index else 0), marks[index]
    probes = tuple(probe for probe in whole.trace.probes if first < (probe.start_ns or 0) < last)
    failures = (*failed, *(one for one in whole.failures if one.kind != "step-failed"))
    trace = plan.as_named(replace(whole.trace, probes=probes, warnings=failures))
    return replace(whole, trace=trace, status=int(bool(failures)), failures=failures)


def _own_functions(setting: GuestSetting) -> list[str]:
    """Return PCI drivers' own probe functions, which are to be timed on a kernel that was built here.

    Debian's kernels are built to be patched while they run, and functions are whole there. Elsewhere a compiler may put
    ``local_pci_probe`` into some of its callers and not into others, so that its entry tells nothing.
    """
    image = setting.options.image
    if setting.module is None:
        return _pci_bodies(image, {driver.name for driver in setting.scenario.drivers})
    return [] if image.build_id is None else [f"{name}:{PCI_BODY}" for name in setting.module.pci_drivers]


def _pci_bodies(image: KernelImage, drivers: Collection[str]) -> list[str]:
    """Return these drivers' probe functions as ``record --function`` takes them: with the module that has them."""
    if image.build_id is None:
        return []
    found = ((name, function) for name, function in _PCI_BODIES.items() if name in drivers)
    return [function if name in image.built_in else f"{name}:{function}" for name, function in found]


def _timed(functions: Iterable[str]) -> list[str]:
    """Return the options of ``numaprobe record`` that time these functions, each once."""
    return [word for function in dict.fromkeys(functions) for word in ("--function", function)]


def check_guest(setting: GuestSetting, trace: Trace, policy: str | None = None) -> GuestCheck:
    """Predict the scenario with the costs that the guest recorded, and compare.

    Args:
        setting: what the guest ran.
        trace: what it recorded.
        policy: a spec, the policy that a patched kernel should follow; None: its release's own, and then every policy
            of ours is held against the recording (``GuestCheck.follows``).

    Raises:
        UnknownNameError, UsageError: there is no such policy.

    """
    stock = setting.profile.pci_policy
    case, judged = _case(setting, trace, policy or stock)
    predicted = case.run()
    follows = () if policy else explanations(lambda name: judged(replace(case, policy=name).run()))
    return GuestCheck(report=judged(predicted), predicted=predicted, policy=case.policy, stock=stock, follows=follows)


def explain_guest(setting: GuestSetting, trace: Trace, checked: GuestCheck) -> SmallestDifference:
    """Search the smallest difference from what was assumed that explains a recording; see ``study.deviation``."""
    return smallest_difference(*_case(setting, trace, checked.policy))


def scenario_alone(
    setting: GuestSetting, trace: Trace, checked: GuestCheck, explained: SmallestDifference
) -> Scenario | None:
    """Return the smallest scenario that shows what differed, for a guest of this kind; None: there is no such one.

    Args:
        setting: what the guest ran.
        trace: what it recorded.
        checked: how that differs from the prediction.
        explained: see ``explain_guest``.

    """
    if not explained.answers:
        return None
    found = deviations(checked.report)
    case = replace(_case(setting, trace, checked.policy)[0], scenario=setting.scenario)
    image = setting.options.image

    def fits(scenario: Scenario) -> object:
        if setting.module is not None:
            return module_plan(scenario, setting.plan.topology)
        return guest_plan(scenario, setting.plan.topology, image.version, image.built_in)

    alone = shown_alone(case, explained.answers[0], found, fits)
    if alone is None:
        return None
    name = setting.scenario.name
    text = "; ".join(deviation_lines(found))
    module = " --module --scale 1" if setting.module is not None else ""
    return alone.model_copy(
        update={
            "name": f"{name[:190]}-alone",
            "summary": f"What {image.release} did otherwise than {checked.policy} says, alone"[:500],
            "description": (
                f"Made of {name}, of which a guest was not as predicted: {text}. {explained.line()}. In a guest: "
                f"numaprobe lab THIS_FILE{module} --check."
            )[:20_000],
            "kernel": setting.profile.name,
        }
    )


def _case(setting: GuestSetting, trace: Trace, policy: str) -> tuple[PredictedCase, Callable[[Trace], Agreement]]:
    """Return what is predicted of a guest with the costs that it recorded, and how a prediction agrees with it."""
    topology = from_json(trace.machine)
    if setting.module is None:
        costed, names = with_recorded_costs(setting.scenario, trace), guest_names(setting.plan, trace)
    else:
        costed, names = setting.scenario, dict(setting.module.names)
    case = PredictedCase(scenario=costed, policy=policy, profile=setting.profile, topology=topology)
    return case, lambda predicted: judge(predicted, trace, names, topology)


def overhead_in_guest(
    setting: GuestSetting, rounds: int, *, told: Callable[[Booting], object] | None = None
) -> dict[str, Any]:
    """Boot a guest and measure there what recording costs the probes; return ``numaprobe.overhead/1``.

    Raises:
        InputError: the kernel has the drivers built in.
        RefusedError: see ``record_in_guest``.

    """
    from numaprobe.kernel.lab.overhead import measure_overhead

    if setting.plan.notes:
        raise InputError(f"{setting.plan.notes[0]}: what recording costs is measured by loading modules")
    with setting.options.guest(told) as shared:
        return measure_overhead(setting.plan, rounds, **shared)
