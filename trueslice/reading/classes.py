"""The class folders of a data set and the classes of params.yaml."""

from collections import Counter
from collections.abc import Iterable, Sequence

from trueslice.errors import UserError

OFFICIAL_SPLITS = {"Training": "train", "Validation": "val", "Testing": "test"}


def check_classes(found: Iterable[tuple[str, str]], class_names: Sequence[str]) -> None:
    """Check that the classes of the scans are those under `classes:` in params.yaml, in each official split.

    Args:
        found: official split and class of every scan.
        class_names: the classes of params.yaml.

    Raises:
        UserError: a class folder has no entry in `classes:`, or an entry has no scans.
    """
    counts = Counter(found)
    folders = {name for _, name in counts}
    if unnamed := sorted(folders - set(class_names)):
        missing = sorted(set(class_names) - folders)
        without = f", while {', '.join(missing)} of `classes:` has no folder" if missing else ""
        problem = f"class folder without an entry under `classes:` in params.yaml: {', '.join(unnamed)}{without}"
        raise UserError(f"{problem}; rename the folder or edit `classes:`")
    for split in sorted({split for split, _ in counts} or {""}):
        if missing := [name for name in class_names if not counts[split, name]]:
            folder = {official: name for name, official in OFFICIAL_SPLITS.items()}.get(split)
            raise UserError(
                f"no scans of {', '.join(missing)}{f' in {folder}/' if folder else ''}, which params.yaml names under "
                f"`classes:`; add the class folder or remove the entry (found: {', '.join(sorted(folders)) or 'none'})"
            )
