"""Images and labels: fetched once, checked, and held as arrays. Imports neither Ray,
JAX nor pandas."""
