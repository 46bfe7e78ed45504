"""Where this person's models and corrections are kept (see :mod:`GenesisSegmentLib.core.home`)."""

from ..core.home import HOME_VARIABLE, data_home

__all__ = ["HOME_VARIABLE", "data_home"]
