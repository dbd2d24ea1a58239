"""The guard, in guests with the real thing."""
