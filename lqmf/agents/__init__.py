"""The agents under their names: doors to the rooms below. They never import one another."""
