"""The maths and the FSDP engine on a device."""
