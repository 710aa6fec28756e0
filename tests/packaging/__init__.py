"""The wheel, and what it installs."""
