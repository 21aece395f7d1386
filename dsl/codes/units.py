"""Diagnostic codes of the stage: units."""

from __future__ import annotations

from isoloss.dsl.codes.row import Code

CODES: tuple[Code, ...] = ()
