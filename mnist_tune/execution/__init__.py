"""Many trials on one device: the stacked, vmapped execution, and the actor that serves it.

- lane: a trial's slice of a stacked state, the same index of every leaf's first axis.
- pool: the lanes of one device. In a trial's own process it has a single lane.
- group: the lanes of a pool that one compiled program can train together.
- batch: the lanes that train an epoch in one call; one lane, or as many as fit, padded.
- lane server: the actor that holds a device's pool. client: a trial's process, which asks it for epochs.
- turn: the lanes of a group that wait for their next batch.
"""
