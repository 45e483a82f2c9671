"""What people run: a typed config, a call, a print, and what only this command computes
or draws.

`sweeps/` and `analysis/` have a script for each command.
"""
