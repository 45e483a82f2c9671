"""Ray's session, its nodes and devices, and where trials run on them."""
