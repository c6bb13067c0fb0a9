"""Skip the high noise in closed form, and know what it costs before sampling."""

from estimators.score._teleport._certificate import Certificate, certificate
from estimators.score._teleport._teleport import Landing, Teleport, flow

__all__ = ["Certificate", "Landing", "Teleport", "certificate", "flow"]
