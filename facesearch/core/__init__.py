"""Values, rules and protocols of face search.

Imports NumPy and the standard library only; it opens no file, runs no network and stores nothing.
"""
