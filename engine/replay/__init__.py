"""The state of the log at a moment, from kept states and the events after them."""
