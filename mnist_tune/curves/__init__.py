"""Curves of others: tables of what was trained elsewhere, judged as sweeps are. Imports
neither Ray nor JAX."""
