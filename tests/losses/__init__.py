"""Loss terms against their formulas."""
