"""Trying settings of an algorithm: which are tried next, and what a trial is worth."""
