"""Binding on a real kernel, in guests: see ``__main__.py``."""
