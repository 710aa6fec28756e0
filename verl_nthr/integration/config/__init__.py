"""Options of this package, and checks of verl's training configurations."""
