"""A run in the forms of others, and back."""
