"""The `import` job: files below the data root -> one shuffled shard, as generate jobs leave them.

In: ImportSpec. Out: `images.npy`, `labels.npy`, `manifest.json`; observes `images`."""

from __future__ import annotations

import shutil

from isoloss.compiler.plan import ImportSpec, Observation
from isoloss.runtime.context import JobContext
from isoloss.runtime.data.below import files_below
from isoloss.runtime.data.importing import Wanted, import_files
from isoloss.runtime.data.registry import data_root_from_environment, describe


def run(context: JobContext) -> tuple[Observation, ...]:
    """Read, check, permute, write. Begins anew after a kill: reading is all that is lost. Raises JobError R401,
    R402, R404 to R409."""
    spec = context.job.spec
    assert isinstance(spec, ImportSpec)
    root = context.data_root if context.data_root is not None else data_root_from_environment()
    paths = files_below(root, spec.files)
    assert root is not None, "files were found below it"
    row = describe(spec.dataset)
    buckets = context.work / ".buckets"  # hidden: nothing to go on from
    shutil.rmtree(buckets, ignore_errors=True)
    buckets.mkdir(parents=True)
    facts = context.job.facts
    known = {"generator": facts.generator, "fid": facts.fid, "licence": facts.licence, "files": spec.files}
    wanted = Wanted(row.shape, row.classes, tuple(spec.sha256), spec.images, spec.seed)
    try:
        count, alarms = import_files(paths, root, wanted, context.output, buckets, known, context.progress)
    finally:
        # Of files that were refused nothing is kept, and nothing to go on from.
        shutil.rmtree(buckets, ignore_errors=True)
    return (
        Observation(
            context.job.id, "import", "images", float(count), count=count, seed=spec.seed, flags=alarms
        ),
    )
