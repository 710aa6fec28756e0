"""The worked example of docs/concepts.md, and its pictures."""
