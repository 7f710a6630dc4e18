"""Arrow's functions on columns, for the type checker: they are made when pyarrow is imported, so that it knows none."""

from typing import Any

import pyarrow.compute

compute: Any = pyarrow.compute
