"""A scenario in a real kernel: its devices and drivers as the lab's own module has them (``kernel/lab/module``).

``layout`` numbers what a scenario has and gives it names in the guest; ``text`` writes it as the module's lines;
``shell`` its steps as lines of a shell; ``limits`` says what no module can do; ``scaling`` makes times long enough that
an emulated machine's own do not decide an order; ``plan`` puts them together.
"""

from numaprobe.scenario.inkernel.limits import inexpressible
from numaprobe.scenario.inkernel.plan import MARK, PCI_BODY, ModulePlan, module_plan
from numaprobe.scenario.inkernel.scaling import fitting_factor, scaled_scenario

__all__ = ["MARK", "PCI_BODY", "ModulePlan", "fitting_factor", "inexpressible", "module_plan", "scaled_scenario"]
