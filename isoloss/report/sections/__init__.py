"""The report's sections: Material -> HTML, one module a section, each useful on what little there is."""
