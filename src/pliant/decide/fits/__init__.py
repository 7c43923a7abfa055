"""Decisions that read fitted laws."""
