"""Processes, files, versions and text."""
