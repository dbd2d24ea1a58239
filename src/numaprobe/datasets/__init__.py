"""Many runs as columns: a folder of Parquet files with a manifest, written by one program and read by SQL.

::

    FOLDER/manifest.json                                what is here; written last, and atomically
    FOLDER/runs/kernel=6.12/policy=inline/0.parquet     one row per run, with its figures or its error
    FOLDER/probes/kernel=6.12/policy=inline/0.parquet   one row per probe, as ``ProbeRecord``
    FOLDER/findings/kernel=6.12/policy=inline/0.parquet one row per finding
    FOLDER/machines/0.parquet                           one row per machine

A *key* is a column with few values; its value is in the folder's name, so that a query which asks for one opens no
other file. A *part* is what is added at a time, one file per table and values of the keys. What the manifest does not
name is not there: a crash leaves the state before, and files that the next writer removes. One writer at a time: it
holds ``lock``.

``tables`` says the columns, ``rows`` makes rows of a trace, ``text`` carries them between processes, ``writing`` writes
a dataset and ``views`` reads any number of them, of traces and of folders of traces, as the views ``runs``, ``probes``,
``findings`` and ``machines`` of DuckDB, which is imported when first used.
"""

from numaprobe.datasets.manifest import DATASET_SCHEMA, Manifest, is_dataset, read_manifest
from numaprobe.datasets.rows import Rows, rows_of_trace
from numaprobe.datasets.tables import TABLES
from numaprobe.datasets.text import Packed, pack
from numaprobe.datasets.views import Answer, Views
from numaprobe.datasets.writing import DatasetWriter, Part

__all__ = [
    "DATASET_SCHEMA",
    "TABLES",
    "Answer",
    "DatasetWriter",
    "Manifest",
    "Packed",
    "Part",
    "Rows",
    "Views",
    "is_dataset",
    "pack",
    "read_manifest",
    "rows_of_trace",
]
