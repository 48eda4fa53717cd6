"""Everything that touches the world: the log, replay, and the interfaces."""
