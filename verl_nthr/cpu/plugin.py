"""The door through which verl loads the CPU platform (entry point group ``verl.plugins``)."""
