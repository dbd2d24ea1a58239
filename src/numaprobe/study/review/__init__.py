"""A patch, reviewed by running it: base and patch built, booted in every cell of a matrix, held against each other.

``matrix`` says what is booted, ``run`` boots it (and goes on where it was interrupted), ``verdict`` says what may be
concluded, ``report/review`` writes it down. What is judged is *placement*: an emulated machine's places are the
kernel's own, its times are not (``--kvm`` aside). Base against base, in a boot of its own, is the control: where the
two differ, that cell cannot tell what the patch does.
"""
