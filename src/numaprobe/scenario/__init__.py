"""Scenario files, and the one place that joins driver core and machine."""
