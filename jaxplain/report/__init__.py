"""Explanations as HTML files that stand alone: no network, no build step, all pictures inside.

page = explorer(data)                                               # jaxplain.study.report makes the data of a study
Path("explorer.html").write_text(page, encoding="utf-8")
"""

from jaxplain.report._explorer import explorer

__all__ = ["explorer"]
