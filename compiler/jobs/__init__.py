"""Cells and generators -> jobs: specs, ids, names, needs."""
