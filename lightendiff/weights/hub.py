"""Restorers on the Hugging Face Hub: repositories with `config.json`, `model.safetensors` and a model card.

Only these two files are ever downloaded, and neither can hold code. Other hubs that speak the same protocol are named
by the environment variable HF_ENDPOINT; HF_TOKEN, HF_HOME and HF_HUB_OFFLINE mean what they mean to huggingface_hub.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from ..restorer import Restorer
from .folder import CONFIG_NAME, WEIGHTS_NAME, CheckpointError, save_restorer

CARD_NAME = "README.md"
_NAME = re.compile(r"(?P<repository>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[\w./-]+))?", re.ASCII)
_FILES = (".safetensors", ".tar", ".pth", ".pt", ".ckpt", ".json")  # what ends so is meant as a file
# Whose exceptions are no ConnectionError; which of them is used depends on huggingface_hub's version.
_HTTP_CLIENTS = ("httpx", "httpx2", "requests", "urllib3")


def is_repository(name: str) -> bool:
    """Whether a name has the form `owner/name` or `owner/name@revision`. Nothing is asked of the hub."""
    return _NAME.fullmatch(name) is not None and not name.endswith(_FILES)


def download(name: str) -> Path:
    """The folder, in huggingface_hub's cache, with a repository's configuration and weights; current where online.

    Args:
        name: `owner/name`, or `owner/name@revision` with a branch, tag or commit.

    Raises:
        ImportError: huggingface_hub is missing.
        FileNotFoundError: there is no such repository or revision, or it isn't open to the user.
        ConnectionError: the hub can't be reached, and the cache has no copy.
        CheckpointError: the repository lacks one of the two files.
        OSError: the hub answered otherwise.
    """
    hub = _huggingface_hub(
        f"{name}: no such file or folder; to load a repository of that name from the Hugging Face Hub"
    )
    repository, revision = _parsed(name)
    try:
        folder = Path(
            hub.snapshot_download(
                repository,
                revision=revision,
                allow_patterns=[CONFIG_NAME, WEIGHTS_NAME],
                endpoint=_endpoint(hub),
                library_name="lightendiff",
                library_version=_version(),
            )
        )
    except Exception as error:  # the library's own, and those of its HTTP client, which differs between versions
        advice = (
            f", and no copy is in the cache: go online once, or give a folder with {CONFIG_NAME} and {WEIGHTS_NAME}"
        )
        _raise_plainly(hub, error, name, advice)
    for file in (CONFIG_NAME, WEIGHTS_NAME):
        if not (folder / file).is_file():
            raise CheckpointError(f"{name}: no {file} in this repository; a restorer is stored as both files")
    return folder


def upload(
    restorer: Restorer,
    name: str,
    private: bool = False,
    half: bool = False,
    card: str | None = None,
    message: str = "Weights",
) -> str:
    """Write a restorer and its model card into a repository, as one commit; returns the commit's address.

    Args:
        restorer: what is stored.
        name: `owner/name`; made where it doesn't exist.
        private: whether a new repository is to be seen by its owner only.
        half: store the weights as float16.
        card: text of the model card. None for one that says what the configuration says, where there is none yet.
        message: of the commit.

    Raises:
        ImportError: huggingface_hub is missing.
        ValueError: the name has another form, or a weight isn't finite.
        PermissionError: the hub doesn't know who is asking, or doesn't let them.
        OSError: the hub can't be reached, or answered otherwise.
    """
    repository, revision = _parsed(name)
    if revision is not None:
        raise ValueError(f"name: expected owner/name without a revision, got {name!r}")
    hub = _huggingface_hub(f"{name}: to upload")
    api = hub.HfApi(endpoint=_endpoint(hub), library_name="lightendiff", library_version=_version())
    with tempfile.TemporaryDirectory() as folder:
        save_restorer(restorer, folder, half)
        try:
            api.create_repo(repository, private=private, exist_ok=True)
            if card is not None or not api.file_exists(repository, CARD_NAME):
                text = model_card(restorer, repository) if card is None else card
                Path(folder, CARD_NAME).write_text(text, encoding="utf-8", newline="")
            commit = api.upload_folder(repo_id=repository, folder_path=folder, commit_message=message)
            url: str = commit.commit_url
            return url
        except Exception as error:
            _raise_plainly(hub, error, name, "; save_pretrained writes the same files into a folder")


def model_card(restorer: Restorer, repository: str) -> str:
    """What can be said of a restorer from its configuration, in the hub's form."""
    from huggingface_hub import ModelCard, ModelCardData

    config = restorer.config
    parameters = sum(parameter.numel() for parameter in restorer.parameters()) / 1e6
    data = ModelCardData(
        library_name="lightendiff",
        pipeline_tag="image-to-image",
        tags=["low-light-image-enhancement", "image-restoration"],
    )
    card = ModelCard(f"""---
{data.to_yaml()}
---

# {repository.rpartition("/")[2]}

Restores photos that are too dark, with lightendiff:

```python
from lightendiff import LightenPipeline

pipe = LightenPipeline.from_pretrained("{repository}")  # pip install 'lightendiff[hub]'
restored = pipe(photo)
```

| | |
| --- | --- |
| Architecture | `{config.architecture}`, {parameters:.2f} M parameters |
| Sampling steps | {config.num_inference_steps} |

What it was trained on, and under which licence it may be used, is still to be said here.
""")
    return str(card)


def _parsed(name: str) -> tuple[str, str | None]:
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"name: expected owner/name or owner/name@revision, got {name!r}")
    return match["repository"], match["revision"]


def _huggingface_hub(purpose: str) -> ModuleType:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError(f"{purpose}, huggingface_hub is needed: pip install 'lightendiff[hub]'") from error
    return huggingface_hub


def _version() -> str | None:
    """Ours, where the package is installed, for the library to name."""
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version("lightendiff")
    return None


def _endpoint(hub: ModuleType) -> str:
    # The library itself reads the variable only once, when it is imported.
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or hub.constants.ENDPOINT


def _raise_plainly(hub: ModuleType, error: Exception, name: str, offline: str) -> NoReturn:
    """One line that says what to do, in place of the library's several; `offline` says it where there is no hub."""
    endpoint, errors, known = _endpoint(hub), hub.errors, "log in (hf auth login) or set HF_TOKEN"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.RevisionNotFoundError):
        raise FileNotFoundError(f"{name}: no such revision of this repository on {endpoint}") from error
    if isinstance(error, errors.GatedRepoError):
        raise FileNotFoundError(f"{name}: accept its terms on {endpoint}/{_parsed(name)[0]}, and {known}") from error
    if isinstance(error, errors.RepositoryNotFoundError):
        raise FileNotFoundError(
            f"{name}: neither a file or folder here nor a public repository on {endpoint}; for a private one, {known}"
        ) from error
    if status in (401, 403):
        raise PermissionError(f"{name}: {endpoint} doesn't allow this ({status}): {known}") from error
    if status is not None:
        raise OSError(f"{name}: {endpoint} answered {status}") from error
    unreached = (errors.LocalEntryNotFoundError, ConnectionError, TimeoutError)
    if isinstance(error, unreached) or type(error).__module__.partition(".")[0] in _HTTP_CLIENTS:
        reason = "HF_HUB_OFFLINE is set" if hub.constants.HF_HUB_OFFLINE else f"{endpoint} can't be reached"
        raise ConnectionError(f"{name}: {reason}{offline}") from error
    raise error
