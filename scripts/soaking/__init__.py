"""What ``soak.py`` runs and measures."""
