"""A model's files: embedded, staged on a node, compiled, measured."""
