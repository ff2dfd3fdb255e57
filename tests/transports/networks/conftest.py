"""The fixture that the library has for tests of applications, used as they would."""

from transports.networks.fixture import network

__all__ = ["network"]
