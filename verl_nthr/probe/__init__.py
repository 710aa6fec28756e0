"""One update per prompt, with and without NTHR: what becomes of the likelihood of the correct responses."""
