"""Merged declarations -> Study + diagnostics: layers, names, units, types, values, defaults."""
