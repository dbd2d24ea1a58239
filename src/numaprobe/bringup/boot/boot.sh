#!/bin/sh
# What numaprobe does at boot besides binding. A shell alone has to do: it must work where no Python does.
#
#   hold      keep the listed devices from their drivers: a driver_override that no driver has. A device that has its
#             driver already, or an override of somebody's, is left alone; but virtio's own driver, built into many
#             kernels, is taken from a function whose virtio device has none yet.
#   load      load the modules of the held devices, by one program; none binds them.
#   bring     bind them from the CPUs of their node, wave by wave; for an initramfs, where there is no Python.
#   release   take every such override away again and have the kernel look for drivers: all is as without us.
#
# At boot a program more is time in which devices wait, and a small initramfs has few (klibc: no rm, cut or sort): what
# the shell can do the shell does.
#
# A line of the list: WAVE LANE BUS DEVICE DRIVER CPUS; by waves. Devices of lane 1 are probed one by one, those of lane
# 0 beside each other. Releasing probes devices of one kind one by one, as the kernel does when it loads their driver, and kinds
# beside each other: a driver that hangs holds up no other.
here=${NUMAPROBE_HERE:-/etc/numaprobe}
sys=${NUMAPROBE_SYS:-/sys}
run=${NUMAPROBE_RUN:-/run/numaprobe}
limit=${NUMAPROBE_LIMIT:-60}
later=numaprobe-later

# An override as the kernel shows it, into $override; "(null)" and nothing are none.
look() {
    override=
    read -r override 2>/dev/null <"$1/driver_override"
    [ "$override" = "(null)" ] && override=
}

hold() {
    mkdir -p "$run" && : >"$run/holding"
    while read -r _ _ bus name driver _; do
        device=$sys/bus/$bus/devices/$name
        [ -e "$device/driver_override" ] || continue
        [ ! -e "$device/driver" ] || carries_nobodys "$device" "$driver" || continue
        look "$device"
        [ -z "$override" ] || continue
        echo $later >"$device/driver_override"
        [ ! -e "$device/driver" ] || echo "$name" >"$sys/bus/$bus/drivers/$driver/unbind"
    done <"$here/devices"
}

# A device ($1) that only carries virtio devices, by its driver ($2), and none of them has a driver yet.
carries_nobodys() {
    [ "$2" = virtio-pci ] || [ "$2" = virtio-mmio ] || return 1
    for child in "$1"/virtio[0-9]*; do
        [ -e "$child" ] && [ ! -e "$child/driver" ] || return 1
    done
}

load() {
    command -v modprobe >/dev/null || return 0
    aliases=
    while read -r _ _ bus name _; do
        alias=
        read -r alias 2>/dev/null <"$sys/bus/$bus/devices/$name/modalias"
        case " $aliases " in *" $alias "*) ;; *) aliases="$aliases $alias" ;; esac
    done <"$here/devices"
    set -f # what stands in these is no pattern
    # shellcheck disable=SC2046,SC2086  many words are meant
    modprobe -qa -- $(cat "$here/modules") $aliases
    set +f
    return 0
}

# From the CPUs of the node where there is a taskset, else from wherever this runs.
from() {
    cpus=$1
    shift
    if [ "$cpus" != - ] && command -v taskset >/dev/null; then
        taskset -c "$cpus" "$@"
    else
        "$@"
    fi
}

one() {
    device=$sys/bus/$1/devices/$2
    look "$device"
    [ "$override" = $later ] || return 0
    echo "$3" >"$device/driver_override" && from "$4" sh -c 'echo "$1" >"$2"' - "$2" "$sys/bus/$1/drivers/$3/bind"
    if [ -e "$device/driver" ]; then
        echo >"$device/driver_override"
    else
        echo $later >"$device/driver_override"
    fi
}

# The devices of a wave ($1) and a lane ($2): "$3" each.
each() {
    while read -r wave lane bus name driver cpus; do
        [ "$wave $lane" = "$1 $2" ] && "$3" "$bus" "$name" "$driver" "$cpus"
    done <"$here/devices"
}

beside() { one "$@" & }

wave() {
    each "$1" 0 beside
    each "$1" 1 one
    wait
}

bring() {
    last=
    while read -r number _; do
        [ "$number" = "$last" ] || wave "$number"
        last=$number
    done <"$here/devices"
}

# Run "$@", and go on without it after the limit.
within() {
    "$@" &
    work=$!
    (sleep "$limit" && kill $work) >/dev/null 2>&1 &
    clock=$!
    wait $work
    kill $clock 2>/dev/null
    return 0
}

# Every device of every bus, and not the list alone, which may be broken.
release() {
    mkdir -p "$run" && mv "$run/holding" "$run/held" 2>/dev/null
    : >"$run/released"
    kinds=
    for file in "$sys"/bus/*/devices/*/driver_override; do
        device=${file%/driver_override}
        look "$device"
        [ "$override" = $later ] || continue
        echo >"$file"
        [ -e "$device/driver" ] && continue
        kind=none
        read -r kind _ 2>/dev/null <"$device/modalias"
        bus=${device%/devices/*}
        echo "$kind ${bus##*/} ${device##*/}" >>"$run/released"
        case " $kinds " in *" $kind "*) ;; *) kinds="$kinds $kind" ;; esac
    done
    set -f
    for kind in $kinds; do
        probe "$kind" 2>/dev/null &
    done
    wait
}

probe() {
    while read -r kind bus name; do
        [ "$kind" = "$1" ] && echo "$name" >"$sys/bus/$bus/drivers_probe"
    done <"$run/released"
}

case $1 in
hold | load | release) "$1" ;;
bring) mkdir -p "$run" && load && within bring ;;
*)
    echo "usage: boot.sh hold | load | bring | release" >&2
    exit 2
    ;;
esac
