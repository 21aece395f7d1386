"""The vocabulary and the codes as text for people: `isoloss help` and the generated reference pages."""
