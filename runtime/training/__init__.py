"""Training: a TrainSpec and images -> weights and a curve, on a DeepSpeed engine, resumable at any step."""
