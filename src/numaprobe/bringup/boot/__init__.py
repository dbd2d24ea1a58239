"""A plan carried out at every boot: what is installed, and how it is taken away again."""
