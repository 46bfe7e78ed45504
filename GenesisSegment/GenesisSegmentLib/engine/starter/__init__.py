"""How the starter model is made: open cases, synthetic CTs, augmentation, training, export and its model card."""
