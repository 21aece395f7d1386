"""What commands draw: a plan's graph and schedule, the pictures of README."""
