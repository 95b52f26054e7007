"""The command line's fixtures: its networks, its caches, and running it."""

from cli.conftest import run_fixture, tiny, users_cache

__all__ = ["run_fixture", "tiny", "users_cache"]
