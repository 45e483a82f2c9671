"""What curves mean: regimes, summaries of replicates, the edge of convergence. Imports
neither Ray nor JAX."""
