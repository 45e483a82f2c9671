"""Networks and optimisers of the user: loaded where they are named, and sent to the
processes that train."""
