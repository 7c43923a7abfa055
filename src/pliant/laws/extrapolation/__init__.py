"""Predictions for runs beyond the data: a fit weighted towards the target, and how far such predictions have been off."""
