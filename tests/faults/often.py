"""Loaded into the fork server by the kill tests: trainings save several times a second, where users' save every 30 s.

A training of seconds would otherwise have nothing to go on from, and hours would have to be killed to test that."""

from __future__ import annotations

from isoloss.runtime.jobs import train

train.CHECKPOINT_SECONDS = 0.1
