"""The demo: its toy, settings, display and figures."""
