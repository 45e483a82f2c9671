"""Rows on disk, the tables read from them, and what they mean. Knows neither Ray nor JAX."""
