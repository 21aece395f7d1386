"""Plan -> Observations: store, executors, worker, tracking, data, models, attacks, training, evaluation.

Import it as `isoloss.runtime`; the folder name is for people, not for Python."""

if __name__ == "runtime":
    raise ImportError(
        "import isoloss.runtime, not runtime: a second copy of our classes would compare unequal"
    )
