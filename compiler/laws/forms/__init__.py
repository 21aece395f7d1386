"""Law forms, one file each: predictions, Jacobians, starts, domains."""
