"""Prompts and samplers."""
