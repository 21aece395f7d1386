"""What the compiler must know of the world: datasets, feature spaces, image supplies, components."""
