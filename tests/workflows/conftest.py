"""The command line's fixtures: its networks, its caches, and running it."""

from cli.conftest import compiled_folder, compiled_functions, run_fixture, tiny, users_cache

__all__ = ["compiled_folder", "compiled_functions", "run_fixture", "tiny", "users_cache"]
