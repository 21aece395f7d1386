"""The report: a store -> one self-contained HTML page of the study's figures and tables.

Runs after any number of jobs, also none; reads plans, results and the forecast ledger, writes one file."""

from __future__ import annotations

from isoloss.report.page import render, write_report

__all__ = ["render", "write_report"]
