"""Figures from scores: error rates of 1:1 and 1:N trials with their counts and intervals.

Arrays in, figures out: it reads protocol files but no photograph, and runs no network.
"""
