"""Functional forms, one law a file."""
