"""The configuration: what may be in it (`schema`), how it is read (`load`), where secrets come from (`secrets`)."""

from pbxd.config.load import load
from pbxd.config.schema import Config

__all__ = ["Config", "load"]
