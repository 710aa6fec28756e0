"""Recipes: settings, dry runs, clusters."""
