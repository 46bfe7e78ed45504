"""Shows on real CTs what learning from corrections brings, and that a bad correction does no harm."""
