"""The plan as a thing: PLAN.json, its graph, totals, the difference of two, why a job exists."""
