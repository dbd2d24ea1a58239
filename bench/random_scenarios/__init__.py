"""Random scenarios under every policy: ``grammar`` writes them, ``check`` runs and judges them, ``__main__`` counts."""
