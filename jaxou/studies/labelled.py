"""The table of a study with names on its axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .collect import Table


def to_xarray(table: Table) -> Any:
    """See `Table.to_xarray`."""
    try:
        import xarray
    except ImportError as error:
        raise ImportError("to_xarray needs xarray: pip install 'jaxou[labelled]'") from error
    from .collect import shape_of

    study = table.study
    known = study.kind.quantities or {}
    replicates = study.replicates
    grid = shape_of(study)
    if grid is None:
        points = len(table) // replicates
        dims, shape = ["cell"], (points,)
        coordinates: dict[str, Any] = {"cell": np.arange(points)}
        for name in study.axes:
            coordinates[name] = ("cell", table.column(name)[::replicates])
    else:
        dims, shape = list(grid[0]), grid[1]
        coordinates = {axis.name: np.array(axis.listed()) for axis in study.design.axes}
    if replicates > 1:
        dims, shape = [*dims, "replicate"], (*shape, replicates)
        coordinates["replicate"] = np.arange(replicates)
    data = {
        name: (dims, table.column(name).reshape(shape), {"description": known.get(name, name)})
        for name in study.quantities
    }
    for name in ("status", "error"):
        data[name] = (dims, table.column(name).reshape(shape), {})
    return xarray.Dataset(data, coordinates, {"study": study.name, "identity": study.identity()})
