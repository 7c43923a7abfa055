"""Accuracy without labels: several heads, how often they agree, and whether that tells anything."""
