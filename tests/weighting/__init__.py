"""Token weightings."""
