"""Greedy accuracy and Pass@K of models on benchmarks in verl's data format."""
