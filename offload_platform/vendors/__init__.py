"""Vendors: one folder each, found by looking.

A vendor's folder holds `layout.py` with a `LAYOUT`, and one module for each offload type with a `CONTRACT`. Where its
deliveries are logs of an assistant, a module says with `LISTENING` what becomes of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from offload_platform.contracts.contract import Contract
from offload_platform.contracts.deliveries import Layout
from offload_platform.contracts.listening import Listening


@dataclass(frozen=True)
class Vendor:
    """Who delivers: how it names things, and a contract for each offload type, by type."""

    name: str
    description: str
    layout: Layout
    contracts: Mapping[str, Contract]
    listening: Listening | None = None


@cache
def vendor_names() -> tuple[str, ...]:
    """Names of all vendors, in alphabetical order."""
    return tuple(sorted(module.name for module in iter_modules(__path__) if module.ispkg))


@cache
def vendor_named(name: str) -> Vendor:
    """Load one vendor's folder."""
    package = import_module(f"{__name__}.{name}")
    modules = [import_module(f"{package.__name__}.{m.name}") for m in iter_modules(package.__path__)]
    contracts = [module.CONTRACT for module in modules if hasattr(module, "CONTRACT")]
    listening = [module.LISTENING for module in modules if hasattr(module, "LISTENING")]
    layout = import_module(f"{package.__name__}.layout").LAYOUT
    order = [offload_type for family in layout.families.values() for offload_type in family.types]
    return Vendor(
        name=name,
        description=(package.__doc__ or "").strip(),
        layout=layout,
        contracts={c.offload_type: c for c in sorted(contracts, key=lambda c: order.index(c.offload_type))},
        listening=listening[0] if listening else None,
    )
