"""The documentation as a site: what it is staged from, and how it is built and checked."""
