"""The case store: accepted corrections, kept for ever and never half."""

from .records import ProvingRecord, TrainingRecord
from .store import DATABASE_VARIABLE, CaseStore

__all__ = ["DATABASE_VARIABLE", "CaseStore", "ProvingRecord", "TrainingRecord"]
