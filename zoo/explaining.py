"""What errors of the Hub's client mean, in one line each; no line ever holds a token, not even one sent back."""

from __future__ import annotations

import os
import re

from .errors import CheckpointError

VERBS = {"read": "had", "write": "written"}
SECRET = re.compile(r"\bhf_[A-Za-z0-9]{30,}\b")


class Unreachable(CheckpointError):
    """The Hub does not answer, or may not be asked; what the cache has may serve."""


def is_offline() -> bool:
    """Whether the user forbids the network."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def token() -> str | None:
    """The user's token, if there is one."""
    from huggingface_hub import get_token

    return get_token()


def redacted(text: str) -> str:
    """A text on one line, without tokens and without the password of an address."""
    for secret in (token(), os.environ.get("HF_TOKEN"), os.environ.get("HUGGING_FACE_HUB_TOKEN")):
        if secret and secret.strip():
            text = text.replace(secret.strip(), "<token>")
    text = re.sub(r"(https?://)[^/\s@]*@", r"\1", SECRET.sub("<token>", text))
    return " ".join(text.split())


def explained(error: BaseException, what: str, verb: str) -> CheckpointError:
    """An error of the client in one line: what was wanted, what the Hub said, what to do.

    Args:
        what: a repository and perhaps a revision.
        verb: "read" or "write".
    """
    if isinstance(error, CheckpointError):
        return error
    while getattr(error, "response", None) is None and error.__cause__ is not None:
        error = error.__cause__  # the client wraps what went wrong in an upload
    status = getattr(getattr(error, "response", None), "status_code", None)
    name, endpoint = type(error).__name__, os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    said = getattr(error, "server_message", None) or str(error) or name
    said = redacted(said)[:300].rstrip(".")
    login = "set HF_TOKEN to a token that has access, or type: hf auth login"
    if is_offline():
        more = " and the cache does not have all of it" if verb == "read" else ""
        why, do = f"HF_HUB_OFFLINE is set{more}", "unset HF_HUB_OFFLINE, then give the same command again"
    elif name == "HFValidationError" or (isinstance(error, ValueError) and "README.md" in said):
        why, do = f"the client refuses it ({said})", "mend that, then give the same command again"
        return CheckpointError(f"the Hub repository {what} cannot be {VERBS[verb]}: {why}; {do}")
    elif name == "RevisionNotFoundError":
        why, do = "there is no such revision", "give a branch, a tag such as v1, or a commit that it has"
    elif name == "GatedRepoError":
        why, do = f"access is granted by its owner ({said})", "ask for it on its page, then " + login
    elif status == 401 and "credentials" in said.lower():
        why, do = "the Hub does not accept the token (401)", login
    elif name == "RepositoryNotFoundError" or status in (401, 404):
        why, do = f"there is no such repository, or it is private ({status})", f"check the name, or {login}"
    elif status == 403:
        why, do = f"the token may not {verb} it (403: {said})", f"check the owner's name, or {login}"
    elif status == 402:
        why, do = f"the owner's plan does not allow it (402: {said})", "see the owner's settings on the Hub"
    elif status in (409, 412):
        why, do = f"somebody else changed it at the same moment ({status}: {said})", "give the same command again"
    elif status == 429:
        why, do = "the Hub asks to wait (429)", "give the same command again later; it goes on where it was"
    elif status is not None and status >= 500:
        why, do = f"the Hub has an error of its own ({status}: {said})", "give the same command again later"
    elif status is not None:
        why, do = f"the Hub refused it ({status}: {said})", "check the name and HF_ENDPOINT"
    elif isinstance(error, OSError) and error.errno and not isinstance(error, ConnectionError):
        why, do = f"{error.filename or 'the disk'}: {error.strerror}", "make room or choose another HF_HOME"
    else:
        why = f"{redacted(endpoint)} cannot be reached or broke off ({said})"
        do = "check the network and HF_ENDPOINT, then give the same command again"
    silent = is_offline() or status in (None, 429) or (status or 0) >= 500
    kind = Unreachable if silent and not str(why).startswith("there is no") else CheckpointError
    return kind(f"the Hub repository {what} cannot be {VERBS[verb]}: {why}; {do}")
