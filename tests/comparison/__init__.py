"""Estimators compared in one process: updates against autograd, statistics, results that continue."""
