"""Decisions about ladders: what a ledger says along an axis."""
