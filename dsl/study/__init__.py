"""The checked meaning of a study: its dataclasses, its JSON and digest, rules evaluated, two studies compared."""
