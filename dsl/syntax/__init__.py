"""Text -> StudyAst and back: the grammar, its parser, the tree, syntax errors, the formatter."""
