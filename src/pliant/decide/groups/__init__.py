"""Decisions between groups of runs."""
