"""Single updates and their effect on correct responses."""
