"""Results drawn from a stated law in place of training."""
