"""Where a probe runs and who waits for it: one small class per file; the folder is the catalogue."""
