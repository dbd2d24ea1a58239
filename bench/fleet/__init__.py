"""A made fleet: hosts whose traces are the virtual machine's or a real kernel's, with known anomalies."""
