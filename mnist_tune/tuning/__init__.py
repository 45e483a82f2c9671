"""Ray Tune's side of a sweep."""
