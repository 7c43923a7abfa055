"""Merging: several sets of weights of one shape made into one, tensor by tensor, in pieces read off files."""
