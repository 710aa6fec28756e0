"""Data scripts: rows, checks, and what they write."""
