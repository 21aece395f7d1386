"""Training of the networks behind generators: denoisers and the discriminators that guide them.

A trainer is a `Stepper`: one optimiser step after another from a state that can be saved; `loop.drive` runs it in a
job. Everything a step does depends on (spec, step, weights) alone."""
