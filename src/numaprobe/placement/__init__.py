"""Does every policy place its bodies as the virtual machine predicts? The host machine on real CPUs, beside it.

``case`` is a small world that both machines run: devices on every node, one without a node, one that adds a child.
``observe`` runs it on the host machine, here or inside a guest of several nodes (``guest``). ``predict`` runs it on the
virtual machine, for the topology that was read where it was observed. ``check`` holds one against the other, ``table``
shows it.

What was observed is read back from the kernel, twice and by different ways: ``getcpu`` and ``move_pages`` make the
record, ``/proc`` (``stat``, ``numa_maps``) is the witness (``look``).
"""
