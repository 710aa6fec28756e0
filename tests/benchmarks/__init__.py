"""The benchmark scripts: their measuring, their models of cost, and runs as small as they go."""
