"""All cells of a study as one table, in the order of the design."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..config import did_you_mean
from .cells import BadCell, Folder, write_whole
from .study import Study

MISSING = "not computed"
"""The status of a cell that has no file yet."""


@dataclass(frozen=True)
class Table:
    """Columns of equal length: the axes, `replicate`, the quantities, `status`, `error`.

    A quantity of a cell that failed or is not computed is None (empty in CSV); one that does not
    exist there (see its `status`) is NaN. `damaged` names files that cannot be used.
    """

    study: Study
    columns: dict[str, list[Any]]
    damaged: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.columns["status"])

    def column(self, name: str) -> np.ndarray:
        """One column as an array; a quantity's missing numbers are NaN.

        Raises `KeyError` that names the nearest column.
        """
        if name not in self.columns:
            raise KeyError(f"there is no column {name}{did_you_mean(name, self.columns)}")
        values = self.columns[name]
        if name in self.study.quantities:
            return np.array([math.nan if v is None else v for v in values], dtype=float)
        return np.array(values)

    @property
    def failed(self) -> list[int]:
        """Rows whose cell raised an exception."""
        return [row for row, error in enumerate(self.columns["error"]) if error]

    @property
    def missing(self) -> list[int]:
        """Rows whose cell is not computed yet."""
        return [row for row, status in enumerate(self.columns["status"]) if status == MISSING]

    def to_csv(self, path: Path | str | None = None) -> str:
        """The table as CSV, numbers with every digit; equal cells give equal bytes."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(
            ["" if x is None else x for x in row]
            for row in zip(*self.columns.values(), strict=True)
        )
        if path is not None:
            write_whole(Path(path), text.getvalue().encode())
        return text.getvalue()

    def to_parquet(self, path: Path | str) -> None:
        """The table as Parquet; `ImportError` that names the extra if pyarrow is missing."""
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise ImportError("Parquet needs pyarrow: pip install 'jaxou[labelled]'") from error
        arrays = {}
        for name, values in self.columns.items():
            kinds = {type(v) for v in values if v is not None}
            if kinds == {int, float}:
                values = [None if v is None else float(v) for v in values]
            arrays[name] = pyarrow.array(values, type=pyarrow.float64() if not kinds else None)
        stream = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.table(arrays), stream)
        write_whole(Path(path), stream.getvalue())

    def to_xarray(self) -> Any:
        """An `xarray.Dataset`: a grid's axes are its dimensions, other designs have one, `cell`.

        `replicate` is one more dimension where there are several. Descriptions of the quantities
        are attributes. Raises `ImportError` that names the package if xarray is missing.
        """
        from .labelled import to_xarray

        return to_xarray(self)


def collect(out: Path | str) -> Table:
    """The table of the study in the folder `out`, as far as it is computed.

    About 0.1 ms per cell.

    >>> import tempfile
    >>> from jaxou import studies
    >>> study = studies.Study.make(name="batches", experiment="theory", quantities=["kl"],
    ...                            design={"axes": {"finetune.batch_size": [1, 8]}})
    >>> with tempfile.TemporaryDirectory() as out:
    ...     _ = studies.run(study, out, shard=(0, 2), progress=False)
    ...     table = collect(out)
    >>> len(table), table.missing, table.column("finetune.batch_size").tolist()
    (2, [1], [1.0, 8.0])
    """
    folder, study = Folder.open(out)
    return table_of(folder, study)


def table_of(folder: Folder, study: Study) -> Table:
    """`collect` of a folder that is open."""
    cells = study.cells()
    columns: dict[str, list[Any]] = {name: [] for name in study.axes}
    columns |= {"replicate": []} | {name: [] for name in study.quantities}
    columns |= {"status": [], "error": []}
    damaged = []
    present = folder.present()
    for cell in cells:
        record, status = None, MISSING
        if cell.id in present:
            try:
                record = folder.read(cell, study.quantities)
                status = record.status
            except (BadCell, FileNotFoundError) as error:
                if isinstance(error, BadCell):
                    damaged.append(folder.file(cell.id).name)
        for name, value in cell.varied.items():
            columns[name].append(value)
        columns["replicate"].append(cell.replicate)
        for name in study.quantities:
            columns[name].append(None if record is None else record.values.get(name))
        columns["status"].append(status)
        columns["error"].append("" if record is None else record.error)
    return Table(study, columns, tuple(damaged))


def write_tables(out: Path | str, table: Table) -> list[Path]:
    """OUT/table.csv, and OUT/table.parquet where pyarrow is installed; the paths written.

    >>> import tempfile
    >>> from jaxou import studies
    >>> study = studies.Study.make(name="batches", experiment="theory", quantities=["kl"],
    ...                            design={"axes": {"finetune.batch_size": [1, 8]}})
    >>> with tempfile.TemporaryDirectory() as out:
    ...     _ = studies.run(study, out, shard=(0, 2), progress=False)
    ...     [path.name for path in write_tables(out, collect(out))][0]
    'table.csv'
    """
    paths = [Path(out) / "table.csv"]
    table.to_csv(paths[0])
    try:
        table.to_parquet(Path(out) / "table.parquet")
    except ImportError:
        return paths
    return [*paths, Path(out) / "table.parquet"]


def shape_of(study: Study) -> tuple[Sequence[str], tuple[int, ...]] | None:
    """(axes, lengths) of a grid, None for other designs."""
    if study.design.kind != "grid":
        return None
    return study.axes, tuple(len(axis.listed()) for axis in study.design.axes)
