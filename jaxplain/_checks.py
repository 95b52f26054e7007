"""What is no net, no image, no layer and no target, told in one sentence before anything is computed."""

from typing import Any, NamedTuple


class Framework(NamedTuple):
    """What a framework's networks are called, and what makes a net of one."""

    what: str
    use: str


FRAMEWORKS = {
    "flax.linen": Framework("a Linen module", "from_linen(module, variables)"),
    "flax.nnx": Framework("an NNX module", "from_nnx(module)"),
    "torch": Framework("a torch module", "jaxplain.models.load(name, module), for the networks that jaxplain has"),
}


def framework_of(module: Any) -> str | None:
    """The name in FRAMEWORKS of the framework that a module, or a class of modules, is made with."""
    kind = module if isinstance(module, type) else type(module)
    for base in kind.__mro__:
        for name in FRAMEWORKS:
            if f"{base.__module__}.".startswith(f"{name}."):
                return name
    return None


def check_framework(module: Any, name: str) -> None:
    """Raises ValueError unless a module is made with the framework of this name."""
    found, expected = framework_of(module), FRAMEWORKS[name]
    if isinstance(module, type):
        called = module.__name__
        raise ValueError(f"This is the class {called}, but {expected.what} is expected: make one, {called}(...).")
    if found is None:
        raise ValueError(f"This is a {type(module).__name__}, but {expected.what} is expected.")
    if found != name:
        raise ValueError(
            f"This is {FRAMEWORKS[found].what}, but {expected.what} is expected: use {FRAMEWORKS[found].use}."
        )
