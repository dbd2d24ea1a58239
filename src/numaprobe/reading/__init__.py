"""Reading what somebody else wrote: doors that every reader shares, and what a reader may cost (``budget.py``)."""
