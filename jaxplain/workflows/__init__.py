"""What people do with a model and images, as functions that print nothing.

Each returns a frozen value that shows itself in notebooks, has a figure, and saves its files, all or none.
"""

from jaxplain.workflows._concepts import fit_concept, fitted_table
from jaxplain.workflows._convert import convert
from jaxplain.workflows._evaluate import evaluate
from jaxplain.workflows._evaluation import Evaluation, Outcome, Summary
from jaxplain.workflows._explain import explain
from jaxplain.workflows._explain_concepts import ConceptExplanation, explain_concepts
from jaxplain.workflows._explanation import Explanation
from jaxplain.workflows._features import FeatureExplanation, features
from jaxplain.workflows._files import write_file, writing
from jaxplain.workflows._finetune import FineTuned, finetune
from jaxplain.workflows._global_concepts import GlobalConcepts, global_concepts
from jaxplain.workflows._layers import feature_layers
from jaxplain.workflows._measures import MEASURES
from jaxplain.workflows._places import check_new_folder, check_out, file_stems, keep_photographs, result_paths
from jaxplain.workflows._recorded import Recorded, recorded
from jaxplain.workflows._result import Table
from jaxplain.workflows._retrieve import Match, Retrieval, retrieve
from jaxplain.workflows._running import Watch
from jaxplain.workflows._samples import Samples, samples
from jaxplain.workflows._settings import parsed_box, parsed_settings

__all__ = [
    "MEASURES",
    "ConceptExplanation",
    "Evaluation",
    "Explanation",
    "FeatureExplanation",
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
    "check_new_folder",
    "check_out",
    "convert",
    "evaluate",
    "explain",
    "explain_concepts",
    "feature_layers",
    "features",
    "file_stems",
    "finetune",
    "fit_concept",
    "fitted_table",
    "global_concepts",
    "keep_photographs",
    "parsed_box",
    "parsed_settings",
    "recorded",
    "result_paths",
    "retrieve",
    "samples",
    "write_file",
    "writing",
]
