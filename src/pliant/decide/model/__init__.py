"""Decisions about one model, by measuring it."""
