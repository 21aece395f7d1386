"""Questions -> answers and the jobs they ask for: forecasts, allocations, and what no budget reaches."""
