"""A kernel in QEMU, on a machine with the nodes and devices that one asks for, recorded by the same recorder."""
