"""What agents ask of a log: five tools that only read, over the Model Context Protocol."""
