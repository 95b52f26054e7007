"""What people do with a model and images, as functions that print nothing.

Each returns a frozen value that shows itself in notebooks, has a figure, and saves its files, all or none.
"""

from jaxplain.workflows._evaluate import evaluate
from jaxplain.workflows._evaluation import Evaluation, Outcome, Summary
from jaxplain.workflows._measures import MEASURES
from jaxplain.workflows._retrieve import Match, Retrieval, retrieve

__all__ = [
    "MEASURES",
    "Evaluation",
    "Match",
    "Outcome",
    "Retrieval",
    "Summary",
    "evaluate",
    "retrieve",
]
