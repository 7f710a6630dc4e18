"""Names for Ibis expressions in signatures.

Ibis picks the class of a column by the data, when it runs: only there is it known to be text with `lower`, or a number
with `floor`. Its annotations promise less than every column has, so a type checker would refuse nearly all of them.
"""

from typing import Any

Table = Any  # ibis.expr.types.Table
Column = Any  # ibis.expr.types.Value: a column of a table, or a value computed from columns
