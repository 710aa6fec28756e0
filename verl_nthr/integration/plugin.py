"""The door through which verl loads NTHR (entry point group ``verl.plugins``)."""
