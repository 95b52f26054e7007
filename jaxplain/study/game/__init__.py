"""Deep Reveal, the game in which people recognise what a network's clusters look at: a web application.

with opened(load_study("study")) as store:
    serve(store)                                                # http://127.0.0.1:8000
"""

from jaxplain.study.game._app import game
from jaxplain.study.game._players import invite
from jaxplain.study.game._serve import serve

__all__ = ["game", "invite", "serve"]
