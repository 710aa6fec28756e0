"""Shared parts of the benchmarks, the soak and the GPU suite."""
