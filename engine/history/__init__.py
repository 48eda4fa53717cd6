"""What was known at a moment: states, branches, staleness and source text as they were then."""
