"""The finished table of a run, for those who read it."""

from ncdb_dask.errors import PlanError
from ncdb_dask.store.folder import Folder
from ncdb_dask.store.manifest import Manifest, read_manifest
from ncdb_dask.store.plan import read_plan
from ncdb_dask.store.run import Kind
from ncdb_dask.store.shards import read_receipts, witnessed


def published(out: Folder, kind: Kind, schema: int) -> Manifest:
    """Return the manifest of a finished run.

    Parameters
    ----------
    out : Folder
        What the run wrote.
    kind : Kind
        What run is expected.
    schema : int
        And of which version of its table.

    Raises
    ------
    PlanError
        Where the folder holds none, another kind of run, one of another schema, or an unfinished one.
    """
    plan = read_plan(out)
    if plan is None:
        raise PlanError(f"{out.url} holds no {kind.name}; `{kind.command}` makes one")
    if plan.kind != kind.name:
        raise PlanError(f"{out.url} holds a run of kind {plan.kind!r}, not {kind.article} {kind.name}")
    if plan.settings.get("schema") != schema:
        found = f"{kind.article} {kind.name} of schema {plan.settings.get('schema')}"
        raise PlanError(f"{out.url} is {found}; expected {schema}: give its command again with --fresh")
    manifest = read_manifest(out)
    if manifest is None:
        done = len(read_receipts(out, plan))
        raise PlanError(f"{out.url}: {done} of {plan.shards} shards are done; run its {kind.name} again to finish it")
    lost = plan.shards - len(witnessed(out, manifest.receipts))
    if lost:
        raise PlanError(
            f"{out.url}: {lost} of {plan.shards} shards are missing or cut; run its {kind.name} again to mend it"
        )
    return manifest
