"""Here so that pytest puts tests/ on the path: helpers shared by all rooms (`doc_commands`) import from it."""
