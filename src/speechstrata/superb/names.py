"""Short names of models."""

RANDOM = "+random"


def model_name(model: str) -> str:
    """A model without the folders before it; a packaged ``.../model`` folder goes by its parent's name.

    ``+random``, the mark of the control, stays.
    """
    own = model.removesuffix(RANDOM)
    parts = [part for part in own.split("/") if part not in ("", "model", ".", "..")]
    return (parts[-1] if parts else own) + model[len(own) :]
