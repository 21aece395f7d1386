"""Points -> LawFit: starts, descent, resamples, held-out errors, statuses, a fit's JSON."""
