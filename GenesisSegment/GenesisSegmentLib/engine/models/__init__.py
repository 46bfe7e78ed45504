"""Which models there are, where they come from, what they allow, and the files of them that this machine has."""
