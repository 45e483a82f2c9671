"""What people run: a typed config, a call, a print. `sweeps/` and `analysis/` have a script for each command."""
