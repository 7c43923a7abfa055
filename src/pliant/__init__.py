"""pliant: what is a model worth after you change it?"""

from pliant.errors import PliantError

__version__ = "0.1.0"
__all__ = ["PliantError", "__version__"]
