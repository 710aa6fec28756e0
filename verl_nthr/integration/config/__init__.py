"""Options of this package, and which training configurations of verl can work."""
