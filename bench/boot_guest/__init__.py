"""A whole Debian that boots with an installed plan: see ``__main__.py``."""
