"""Pure JAX: networks, and an epoch of SGD as a pure function of its arguments."""
