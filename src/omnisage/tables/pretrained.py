"""Loading a pretrained model of the user's: from its folder alone, with all of its weights, for encoding only."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from omnisage.errors import OmnisageError
from omnisage.tables.encoders import Encoder

# Options of every `from_pretrained`: nothing is fetched, and no code that lies in the folder is run.
FOLDER_ONLY = {"local_files_only": True, "trust_remote_code": False}
# Poolers and heads are not used, and many folders leave them out.
_UNUSED = ("pooler", "head")


def load_model(encoder: Encoder, **options: Any) -> tuple[Any, Any]:
    """A model of transformers, and the device it is on: a GPU if there is one.

    Args:
        encoder: whose folder has the model.
        options: of `AutoModel.from_pretrained`.

    Raises:
        OmnisageError: transformers refuses the folder, or weights are missing in it.
    """
    import torch
    from transformers import AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    assert encoder.folder is not None, "the built-in encoder has no model"
    with refusing(encoder):
        model, loading = AutoModel.from_pretrained(
            encoder.folder,
            dtype=torch.float32,
            use_safetensors=True,
            output_loading_info=True,
            **FOLDER_ONLY,
            **options,
        )
    missing = sorted(name for name in loading["missing_keys"] if not any(part in name for part in _UNUSED))
    if missing:  # transformers makes them up at random
        raise _cannot_load(encoder, f"it lacks {len(missing)} weights, such as {missing[0]}")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return model.eval().to(device), device


@contextmanager
def refusing(encoder: Encoder) -> Generator[None]:
    """Turn what goes wrong while a model is loaded into one error that names its field."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise OmnisageError(
            f"{encoder.field}.encoder: {encoder.name} needs the package {error.name}, which is not installed; "
            f"run `pip install 'omnisage[{encoder.kind}]'`"
        ) from None
    except OmnisageError:
        raise
    except Exception as error:  # what reads configs and tokenizers raises plain exceptions
        raise _cannot_load(encoder, error) from error


def _cannot_load(encoder: Encoder, reason: object) -> OmnisageError:
    return OmnisageError(
        f"{encoder.field}.encoder: the model in {encoder.folder} cannot be used: {reason}; save it again, or name "
        "another"
    )
