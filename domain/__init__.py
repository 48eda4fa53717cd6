"""The domain: facts, moments, nodes and pure arithmetic on them. Imports nothing of ours."""
