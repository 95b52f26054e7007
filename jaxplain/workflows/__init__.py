"""What people do with a model and images, as functions that print nothing.

Each returns a frozen value that shows itself in notebooks, has a figure, and saves its files, all or none.
"""

from jaxplain.workflows._concepts import fit_concept
from jaxplain.workflows._convert import convert
from jaxplain.workflows._evaluate import evaluate
from jaxplain.workflows._evaluation import Evaluation, Outcome, Summary
from jaxplain.workflows._explain import explain
from jaxplain.workflows._explain_concepts import ConceptExplanation, explain_concepts
from jaxplain.workflows._explanation import Explanation
from jaxplain.workflows._files import writing
from jaxplain.workflows._finetune import FineTuned, finetune
from jaxplain.workflows._global_concepts import GlobalConcepts, global_concepts
from jaxplain.workflows._measures import MEASURES
from jaxplain.workflows._recorded import Recorded, recorded
from jaxplain.workflows._result import Table
from jaxplain.workflows._retrieve import Match, Retrieval, retrieve
from jaxplain.workflows._running import Watch
from jaxplain.workflows._samples import Samples, samples
from jaxplain.workflows._settings import parsed_settings

__all__ = [
    "MEASURES",
    "ConceptExplanation",
    "Evaluation",
    "Explanation",
    "FineTuned",
    "GlobalConcepts",
    "Match",
    "Outcome",
    "Recorded",
    "Retrieval",
    "Samples",
    "Summary",
    "Table",
    "Watch",
    "convert",
    "evaluate",
    "explain",
    "explain_concepts",
    "finetune",
    "fit_concept",
    "global_concepts",
    "parsed_settings",
    "recorded",
    "retrieve",
    "samples",
    "writing",
]
