"""The case store: accepted corrections, kept for ever and never half."""

from .records import ProvingRecord, TrainingRecord
from .store import DATABASE_VARIABLE, STORE_VARIABLE, CaseStore, default_folder

__all__ = ["DATABASE_VARIABLE", "STORE_VARIABLE", "CaseStore", "ProvingRecord", "TrainingRecord", "default_folder"]
