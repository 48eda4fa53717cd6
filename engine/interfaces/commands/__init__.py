"""The commands of `backcast`, one file each."""
