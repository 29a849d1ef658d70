"""Embedders made and changed: crops of many people, networks trained on them, and what comes out of it.

Imported by the commands that train only: it searches no gallery and serves nothing.
"""
