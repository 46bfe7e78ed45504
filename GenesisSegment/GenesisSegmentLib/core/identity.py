"""Names for patients and scans that tell them apart and tell nothing else: hashes with a secret of this case store.

A plain hash of a PatientID or SeriesInstanceUID could be undone by trying all likely ones. With a random salt that
never leaves the folder of the store it cannot.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path

from .errors import InputError
from .files import fsync_folder, output_errors, private_folder
from .home import BLOBS_NAME, DATABASE_NAME
from .i18n import _

SALT_NAME = "salt"
_SALT_BYTES = 32
_HASH = re.compile(r"[0-9a-f]{64}")
_BELONGS_TO_SALT = (DATABASE_NAME, BLOBS_NAME)
"""What lies beside a salt that has been used."""
_NOBODY = {
    *("anon", "anonym", "anonymous", "anonymized", "anonymised", "deidentified", "removed", "unknown", "noname"),
    *("noid", "none", "null", "na", "test", "patient"),
}
"""What stands in place of a PatientID, in small letters and without spaces and punctuation."""


def local_salt(folder: Path) -> bytes:
    """The 32 random bytes of the case store in ``folder``, made when they are asked for first.

    The file holds them and their SHA-256, readable by this person alone. Processes that ask at the same time get the
    same bytes, which are on disk when this returns.

    Raises:
        InputError: it is damaged, or missing beside cases; it is never made anew then.
        OutputError: it cannot be made.
    """
    path = folder / SALT_NAME
    try:
        return _read(path)
    except FileNotFoundError:
        if any((folder / name).exists() for name in _BELONGS_TO_SALT):
            raise InputError(
                _("The case store in {folder} has lost its salt file.").format(folder=folder), _mend()
            ) from None
    except OSError as error:
        raise InputError(
            _("{path} could not be read: {reason}.").format(path=path, reason=error.strerror),
            _("Check its permissions."),
        ) from error
    with output_errors(path):
        private_folder(folder)
        _make(path)
        return _read(path)


def hashed(salt: bytes, text: str) -> str:
    """HMAC-SHA256 of ``text``, as 64 hexadecimal digits."""
    return hmac.new(salt, text.encode("utf-8"), hashlib.sha256).hexdigest()


def patient_text(patient_id: str, study_uid: str = "") -> str:
    """A text that tells the patient of a DICOM scan apart, or "" where nothing does: then each scan is its own patient.

    It is the PatientID; where that is a placeholder of anonymisation, such as "ANON^" or "000000", the study stands for
    the patient, by its StudyInstanceUID. Otherwise all anonymised scans would be of one patient.

    What it cannot know: that two studies without a PatientID are of the same person, who may then both teach and judge
    a model; that a PatientID that looks like any other was given to several people; or that two are of one.
    """
    word = "".join(letter for letter in patient_id.casefold() if letter.isalnum())
    if word.strip("0") and word not in _NOBODY:
        return patient_id.strip()
    return f"study {study_uid.strip()}" if study_uid.strip() else ""


def is_hash(text: str) -> bool:
    """Whether ``text`` is what :func:`hashed` gives, and so nothing that leads elsewhere as a name of a file."""
    return _HASH.fullmatch(text) is not None


def _mend() -> str:
    return _("Bring the file back from a backup of this folder; without it, scans and patients are not known again.")


def _read(path: Path) -> bytes:
    content = path.read_bytes()
    salt = content[:_SALT_BYTES]
    if content[_SALT_BYTES:] != hashlib.sha256(salt).digest():
        raise InputError(_("{path} is damaged.").format(path=path), _mend())
    return salt


def _make(path: Path) -> None:
    """Writes a new salt, whole and only where there is none yet."""
    salt = secrets.token_bytes(_SALT_BYTES)
    temporary = path.with_name(f".{SALT_NAME}-{secrets.token_hex(8)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(salt + hashlib.sha256(salt).digest())
            stream.flush()
            os.fsync(stream.fileno())
        _appear(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    fsync_folder(path.parent)


def _appear(temporary: Path, path: Path) -> None:
    """Gives a file its name unless another process was faster: a link, unlike a renaming, replaces nothing."""
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EINVAL):
            raise
        if not path.exists():  # a disk without links, such as a USB stick
            temporary.rename(path)
