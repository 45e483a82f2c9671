"""Training many trials on one device: their stacked, vmapped state, and the actor that
serves it."""
