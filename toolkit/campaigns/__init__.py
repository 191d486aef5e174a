"""Many runs as one study: planned, submitted, watched and compared together."""
