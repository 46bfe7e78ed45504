"""From a CT to masks: the published recipe written plainly, and the fast one that gives the same masks."""
