"""text -> Study: grammar, spans, AST, parser, units, vocabulary, checks, diagnostics, formatter.

Import it as `isoloss.dsl`; the folder name is for people, not for Python."""

if __name__ == "dsl":
    raise ImportError("import isoloss.dsl, not dsl: a second copy of our classes would compare unequal")
