"""Logs of boots with ``initcall_debug``, made of what an initcall does: its own time and the probes in it.

``FLIPPER`` has the figures of a public case (flipperdevices/flipperone-linux-build-scripts, pull request 163): two
ethernet controllers of 274 and 272 ms and 640 ms of LEDs in front of the root device, and a kernel phase of 4.30 s.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Log:
    """A log under construction; times in µs."""

    now: int = 0
    lines: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.lines.append(f"[{self.now // 1_000_000:5d}.{self.now % 1_000_000:06d}] {text}")

    def initcall(
        self, function: str, own: int, *probes: tuple[str, int] | tuple[str, int, int], driver: str = ""
    ) -> None:
        """One initcall of kernel_init: half of its own time, the probes (device, µs, result), the other half.

        ``driver``: named in the line, as 7.3 does.
        """
        named = f" with driver {driver}" if driver else ""
        start = self.now
        self.say(f"calling  {function}+0x0/0x30 @ 1")
        self.now += own // 2
        for device, took, *result in probes:
            self.now += took
            self.say(f"probe of {device}{named} returned {result[0] if result else 0} after {took} usecs")
        self.now += own - own // 2
        self.say(f"initcall {function}+0x0/0x30 returned 0 after {self.now - start} usecs")

    @property
    def text(self) -> str:
        return "\n".join(self.lines) + "\n"


def flipper() -> str:
    log = Log(now=300_000)
    log.lines.append("[    0.000000] Linux version 7.3.0 (build@host) #1 SMP PREEMPT")
    log.lines.append("[    0.000000] Kernel command line: root=/dev/sda2 rootwait initcall_debug")
    log.lines.append("[    0.040000] smp: Brought up 1 node, 8 CPUs")
    log.initcall("rockchip_pinctrl_drv_register", 2_000, ("pinctrl", 9_000), driver="rockchip-pinctrl")
    log.initcall("rk8xx_i2c_driver_init", 1_000, ("2-0023", 30_000), driver="rk8xx-i2c")
    log.initcall("inet_init", 400_000)
    log.initcall("hd3ss3220_driver_init", 500, ("5-0047", 1_000, 517), driver="hd3ss3220")
    log.now += 200_000
    log.initcall("gpio_led_driver_init", 1_000, ("leds", 640_000), driver="leds-gpio")
    gmacs = ("2a220000.ethernet", 274_000), ("2a230000.ethernet", 272_000)
    log.initcall("rk_gmac_dwmac_driver_init", 1_500, *gmacs, driver="rk_gmac-dwmac")
    log.now += 770_000
    log.initcall("ufs_rockchip_pltform_init", 2_000, ("2a2d0000.ufshc", 150_000), driver="ufshcd-rockchip")
    log.say(" sda: sda1 sda2 sda3")
    log.initcall("deferred_probe_initcall", 0, ("5-0047", 208_000), driver="hd3ss3220")
    log.initcall("clk_disable_unused", 40_000)
    log.now = 4_300_000
    log.say("Run /init as init process")
    log.now = 4_800_000
    log.say("systemd[1]: systemd 257 running in system mode (+PAM)")
    return log.text


def slow_behind_the_root() -> str:
    log = Log()
    log.initcall("ufs_init", 1_000, ("ufs", 50_000), driver="ufshcd-pltfrm")
    log.say(" sda: sda1")
    log.initcall("slow_driver_init", 1_000, ("slow", 900_000), driver="slow")
    log.initcall("last_init", 950_000)
    log.say("Run /init as init process")
    return log.text
