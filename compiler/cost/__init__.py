"""Specs -> cost: passes, FLOPs, memory, placement, devices' rates, seconds, money, the schedule."""
