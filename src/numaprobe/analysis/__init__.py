"""Findings and comparisons: what records of any source say, with evidence."""
