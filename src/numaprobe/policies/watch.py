"""Policies from outside are held to the contract of a placement, and their mistakes are told to their authors.

A placement is handed a function and must call it once, wait for it, and return what it returned. One that never calls
it loses a probe without a word: no record, nothing bound, nothing found. What a policy raises itself is no bug of
numaprobe: the error names the policy's file and line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from numaprobe.drivercore import Placement
from numaprobe.errors import NumaprobeError, PolicyError, explain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.drivercore import Device, HasMachine


class Outside(Protocol):
    """What is watched of a policy."""

    @property
    def label(self) -> str:
        """Its name, for errors."""
        ...

    def placement(self, core: HasMachine) -> Placement:
        """Return its placement on ``core``."""
        ...


def watched(policy: Outside, core: HasMachine) -> Placement:
    """Return the policy's placement on ``core``, watched.

    Raises:
        PolicyError: making it failed.

    """
    try:
        return _Watched(core, policy, policy.placement(core))
    except NumaprobeError:
        raise
    except Exception as error:
        raise _failed(policy, "placement", error) from error


class _Once:
    """The function that a placement was given: counts its calls and keeps what came of it."""

    def __init__(self, function: Callable[[], Awaitable[Any]]) -> None:
        self._function = function
        self.calls = 0
        self.result: object = None
        self.failure: BaseException | None = None

    async def __call__(self) -> Any:  # noqa: ANN401  whatever the core's function returns
        self.calls += 1
        try:
            self.result = await self._function()
        except BaseException as error:
            self.failure = error
            raise
        return self.result


class _Watched(Placement):
    """A placement from outside."""

    def __init__(self, core: HasMachine, policy: Outside, inner: Placement) -> None:
        super().__init__(core)
        self.policy = policy
        self._inner = inner

    async def call_site(self, dev: Device, function: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ANN401  as Placement
        """Ask it, and see what it does."""
        once = _Once(function)
        return await self._held("call_site", dev, once, lambda: self._inner.call_site(dev, once))

    async def probe_device(self, dev: Device, function: Callable[[], Awaitable[int]], *, is_async: bool) -> int:
        """Ask it, and see what it does."""
        once = _Once(function)
        ask = lambda: self._inner.probe_device(dev, once, is_async=is_async)  # noqa: E731  as in call_site
        result: int = await self._held("probe_device", dev, once, ask)
        return result

    async def bus_probe(self, dev: Device, function: Callable[[], Awaitable[int]], *, under_parent: bool) -> int:
        """Ask it, and see what it does."""
        once = _Once(function)
        ask = lambda: self._inner.bus_probe(dev, once, under_parent=under_parent)  # noqa: E731  as in call_site
        result: int = await self._held("bus_probe", dev, once, ask)
        return result

    async def _held(self, place: str, dev: Device, once: _Once, ask: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ANN401
        try:
            result = await ask()
        except NumaprobeError:
            raise
        except Exception as error:
            if error is once.failure:
                raise
            raise _failed(self.policy, place, error) from error
        name = self.policy.label
        if once.calls != 1:
            done = "never ran" if not once.calls else f"ran {once.calls} times"
            text = f"policy '{name}' {done} the probe of {dev.name}: {place} must call function() once and wait for it"
            raise PolicyError(text)
        if once.failure is None and result != once.result:
            text = f"policy '{name}' returned {result!r:.40} for {dev.name}: {place} must return what function() does"
            raise PolicyError(text)
        return result


def _failed(policy: Outside, place: str, error: Exception) -> PolicyError:
    return PolicyError(f"policy '{policy.label}': {place} raised {explain(error)}")
