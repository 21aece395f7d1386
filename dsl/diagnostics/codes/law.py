"""Diagnostic codes of the stage: law. L1xx tables, L2xx fits and questions, L3xx lint, L5xx a study's answers."""

from __future__ import annotations

from isoloss.dsl.diagnostics.codes import law_fits, law_lint, law_study, law_tables
from isoloss.dsl.diagnostics.codes.row import Code

CODES: tuple[Code, ...] = (*law_tables.CODES, *law_fits.CODES, *law_lint.CODES, *law_study.CODES)
