"""The images: fetched once, checked, held as arrays. Knows neither Ray, JAX nor pandas."""
