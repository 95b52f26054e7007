"""What people do with a model and images, as functions that print nothing.

Each returns a frozen value that shows itself in notebooks, has a figure, and saves its files, all or none.
"""

from jaxplain.workflows._explain import Watch, answers, ask, explain
from jaxplain.workflows._explanation import Explanation
from jaxplain.workflows._samples import Samples, samples

__all__ = ["Explanation", "Samples", "Watch", "answers", "ask", "explain", "samples"]
