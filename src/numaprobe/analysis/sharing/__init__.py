"""What probes share besides CPUs, learnt from records alone: which waited for which, and for how long each holds it.

``company`` tells which probes met; ``pairs`` learns from probes that were alone and others that met; ``waits`` from
what lock events and wake-ups named. ``learn`` takes the best that the traces give.
"""
