#!/bin/sh
# When the boot has come to its targets: say how it stands, then power off. In an initramfs' test it is the first process.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
[ -e /proc/uptime ] || mount -t proc proc /proc
[ -e /sys/kernel ] || mount -t sysfs sysfs /sys
[ -e /dev/console ] || mount -t devtmpfs dev /dev
say() { echo "REPORT $*" >/dev/console; }
say "on: $(cut -d' ' -f1 /proc/uptime)"
if [ -d /run/systemd/system ]; then
    say "service: $(systemctl show numaprobe-bringup.service -p Result -p ExecMainStatus | tr '\n' ' ')"
    for unit in hold bringup; do
        for what in InactiveExit InactiveEnter; do
            say "$unit $what: $(systemctl show "numaprobe-$unit.service" --value -p "${what}TimestampMonotonic")"
        done
    done
    [ ! -e /run/boot-said ] || while read -r line; do say "said: $line"; done </run/boot-said
    # a disk that never answers keeps udev busy, too
    grep -q boot.case=driver /proc/cmdline || udevadm settle -t 60
fi
for device in /sys/bus/pci/devices/* /sys/bus/virtio/devices/*; do
    driver=$(readlink "$device/driver")
    above=$(readlink -f "$device/..") # of a virtio device what carries it
    say "device: ${device##*/} ${driver##*/} $(cat "$device/numa_node" 2>/dev/null || cat "$device/../numa_node") ${above##*/}"
done
say "held: $(grep -l numaprobe-later /sys/bus/*/devices/*/driver_override 2>/dev/null | wc -l)"
mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
grep -E ' (bound|local): ' /sys/kernel/tracing/trace | while read -r line; do say "trace: $line"; done
say end
# The disk's changes are thrown away: nothing is to be written first, and a disk that never answers would be waited for.
exec setsid sh -c 'echo o >/proc/sysrq-trigger; sleep 100'
