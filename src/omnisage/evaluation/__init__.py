"""Stage 7: how good the embeddings are on held-out users and pairs, and the report that shows it.

`evaluate` measures either held-out part; `omnisage evaluation` writes the test's numbers and the report.
"""

from omnisage.evaluation.evaluate import Evaluation, evaluate
from omnisage.evaluation.records import Record

__all__ = ["Evaluation", "Record", "evaluate"]
