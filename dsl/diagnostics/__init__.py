"""Mistakes as values: code, place, message, help; how they are collected and rendered."""
