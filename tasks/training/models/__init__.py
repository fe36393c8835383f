"""Networks to train, by the family that they belong to."""
