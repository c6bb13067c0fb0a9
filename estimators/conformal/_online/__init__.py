"""Thresholds for scores that come one at a time, from a law that changes."""

from estimators.conformal._online._aci import ACI, ACIState
from estimators.conformal._online._agaci import AgACI, Regrets
from estimators.conformal._online._dtaci import DtACI
from estimators.conformal._online._enbpi import EnbPI, EnbPIState
from estimators.conformal._online._experts import ExpertState
from estimators.conformal._online._pid import ConformalPID, PIDState
from estimators.conformal._online._rolling import RollingCoverage, rolling_coverage
from estimators.conformal._online._run import OnlineRun, OnlineState
from estimators.conformal._online._saocp import SAOCP, SAOCPState
from estimators.conformal._online._sfogd import SFOGD, SFOGDState
from estimators.conformal._online._spec import OnlineSpec
from estimators.conformal._online._window import Window

__all__ = [
    "ACI",
    "SAOCP",
    "SFOGD",
    "ACIState",
    "AgACI",
    "ConformalPID",
    "DtACI",
    "EnbPI",
    "EnbPIState",
    "ExpertState",
    "OnlineRun",
    "OnlineSpec",
    "OnlineState",
    "PIDState",
    "Regrets",
    "RollingCoverage",
    "SAOCPState",
    "SFOGDState",
    "Window",
    "rolling_coverage",
]
