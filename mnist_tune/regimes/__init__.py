"""From curves to what they mean: regimes, replicates, the edge. Knows NumPy and pandas, and no other room."""
