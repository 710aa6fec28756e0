"""One update a question, with and without NTHR: what becomes of the likelihood of the correct responses."""
