"""A sweep's files: writing them, reading them, and the tables made from them. Imports
neither Ray nor JAX."""
