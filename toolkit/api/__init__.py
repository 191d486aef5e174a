"""For notebooks, search loops and rewards: runs as frames, fits of counts, a judge to call."""
