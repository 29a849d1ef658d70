"""Nearest-neighbour search over enrolled templates.

The database stays the truth; an index here is a cache that knows which revision it reflects. Nothing here decides who somebody is.
"""
