"""Learning from corrections: material, training, evaluation, versions and rounds."""
