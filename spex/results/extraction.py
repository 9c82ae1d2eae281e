"""The result of a query as its user holds it: shown, and written as a result folder."""

from __future__ import annotations

import io
from pathlib import Path

from spex.raster.working_rasters import bounded_gdal_cache
from spex.results.audit import audit
from spex.results.files import write_outputs
from spex.results.folder import output_errors, staged_folder
from spex.results.query_result import QueryResult
from spex.results.quicklook import quicklook
from spex.results.summary import summary


class Extraction(QueryResult):
    """The result of one query on one scene.

    Its rasters lie in a temporary folder that is removed with this object; ``save`` keeps them.
    A notebook shows its picture.
    """

    def __repr__(self) -> str:
        return summary(self)

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        with bounded_gdal_cache():
            quicklook(self).save(stream, "PNG")
        return stream.getvalue()

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write the result folder, whole or not at all, and check it against its own files.

        Args:
            folder: where to write; its parents are made.
            overwrite: whether an earlier result may be replaced.

        Returns:
            The folder.

        Raises:
            OutputError: the folder is in use, holds something else, or cannot be written.
        """
        with (
            staged_folder(Path(folder), overwrite=overwrite) as staging,
            bounded_gdal_cache(),
            output_errors(folder),
        ):
            write_outputs(self, staging)
            audit(staging, self.scene)
        return Path(folder)
