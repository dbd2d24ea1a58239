"""Benchmarks: side by side, ratios, medians of several runs."""
