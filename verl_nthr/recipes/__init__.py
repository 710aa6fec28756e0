"""What the scripts in ``recipes/`` call: checks of a run's settings, a toy to rehearse a run on, nodes of a cluster."""
