"""A made fleet: hosts of four classes whose traces are the virtual machine's or a real kernel's, with known anomalies."""
