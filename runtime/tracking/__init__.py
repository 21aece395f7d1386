"""MLflow as the journal's mirror: a process beside the training reads the journal and tells MLflow.

The training never waits for it. A tracking server that is away delays nothing and loses nothing: the journal
keeps everything, a cursor says how far the mirror is, and the next run goes on from there."""
