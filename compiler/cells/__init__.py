"""Grids -> cells: which runs are candidates, with batch, learning rate and images really drawn."""
