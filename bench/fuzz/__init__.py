"""Fuzzing of every reader: coverage-guided inputs (Atheris), and large ones made to cost as much as they can."""
