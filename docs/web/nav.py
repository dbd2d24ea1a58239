"""The order of the site: which page is of which kind. A page that is named nowhere is a how-to guide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Section:
    """Pages of one kind."""

    name: str
    title: str
    text: str
    pages: tuple[str, ...]


SECTIONS: Final = (
    Section(
        "tutorials",
        "Tutorials",
        "Each is a lesson with a result at its end; take them in this order if you are new.",
        ("slow-boot", "tutorial-patch", "tutorial-drivers", "tutorial-sweep"),
    ),
    Section(
        "how-to",
        "How-to guides",
        "You know what you want to do: how it is done.",
        (
            "installing",
            "which-kernel",
            "recording",
            "advise",
            "verify",
            "replay",
            "bind",
            "guards",
            "lab",
            "reports",
            "study",
            "sweep",
            "cluster",
            "fleet",
            "host",
            "machine-authors",
        ),
    ),
    Section(
        "reference",
        "Reference",
        "What there is, complete; commands, schemas and the Python interface are made from the program itself.",
        (
            "commands",
            "cli/index",
            "scenarios",
            "scenario-keys",
            "machines",
            "policies",
            "findings",
            "kernel-profiles",
            "records",
            "schemas/index",
            "reading-kernel-traces",
            "api/index",
            "glossary",
            "changelog",
        ),
    ),
    Section(
        "explanation",
        "Explanation",
        "Why it is so, what can be relied on, and what is not modelled.",
        (
            "answers",
            "where-probes-run",
            "shared",
            "trust",
            "host-measurements",
            "reliability",
            "architecture",
            "dependencies",
            "contributing",
            "security",
        ),
    ),
)
