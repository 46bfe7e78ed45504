"""What every other room builds on: standard library and numpy only, nothing of ours imported from elsewhere."""
