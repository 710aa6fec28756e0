"""Generated input: accepted, or refused by name."""
