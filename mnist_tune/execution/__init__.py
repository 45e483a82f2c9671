"""Training many trials on one device: their stacked, vmapped state, and the actor that serves it.

- lane: one trial's slice of a stacked state, at the same index of every leaf's first axis.
- pool: the lanes of one device. In a trial's own process it has a single lane.
- group: the lanes of a pool that one compiled program can train together.
- batch: the lanes that train an epoch in one call: either one lane, or as many as fit, padded.
- lane server: the actor that holds a device's pool.
- lane client: a trial's process, which asks the server for epochs.
- turn: the lanes of a group that wait for their next batch.
"""
