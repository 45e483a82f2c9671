"""The search for the edge: the learning rates at which shares of the seeds learn."""
