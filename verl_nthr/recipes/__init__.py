"""Called by the scripts in ``recipes/``: checks of settings, rehearsals on a toy, and checks of a cluster's nodes."""
