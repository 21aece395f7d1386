"""Observations -> what is known: which observation is a point of which law, the study's fits, measured FIDs."""
