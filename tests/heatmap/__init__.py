"""Token dumps as a page of coloured tokens."""
