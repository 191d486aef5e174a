"""Before anything is launched: what a target costs, how an array would go."""
