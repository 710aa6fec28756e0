"""The command: doctor, help, errors."""
