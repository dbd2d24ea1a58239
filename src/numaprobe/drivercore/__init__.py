"""Devices, drivers, binding, deferred and async probing: the rules of ``drivers/base``, over any machine."""
