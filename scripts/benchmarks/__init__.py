"""What the scripts ``bench_*.py`` share."""
