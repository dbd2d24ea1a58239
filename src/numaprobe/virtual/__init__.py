"""The virtual machine: virtual time, run queues, workqueues, hotplug."""
