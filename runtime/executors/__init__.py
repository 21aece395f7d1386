"""Executors: ready jobs in, results in the store. One interface (base.py), one registry row each."""
