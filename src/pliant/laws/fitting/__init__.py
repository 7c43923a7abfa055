"""Fitting a law to a table: objective, search, intervals, audit, result."""
