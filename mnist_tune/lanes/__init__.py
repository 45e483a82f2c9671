"""Many trials on one device: the stacked, vmapped execution, and the actor that serves it."""
