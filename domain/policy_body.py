"""Which settings of a policy stand in what a log keeps of it, and so in its digest?

The first settings always stand there. Every other one is left out while it has its default: then a
new setting changes the digest of no policy that was recorded before there was such a setting, and
what is left out is read back as its default. So nothing is to be done here for a new setting, and
the lists below never grow.
"""

from typing import Any

from pydantic import BaseModel

_ALWAYS = {table: frozenset(names.split()) for table, names in {
    "Policy":
        "name version system texts order shares priorities weights worth likeness pattern longer "
        "recall recalled news values fading opening around whole parts checked lives habits "
        "libraries library_tokens levels constants errors verdicts trail offered embedder keep "
        "summarised omissions wide small large thinking map plans",
    "Details": "module_tokens function_tokens iterations tests errors patterns",
    "Thinking": "always failures dependencies share",
    "MapSettings":
        "distiller cartographer merge stale inline evolve reopen item_tokens line_tokens others "
        "lines lasting heat sections tags fading size core",
    "Lookup": "weights likeness pattern longer fading",
    "MessageSettings":
        "mask_after mask_step offload_over preview drop_superseded compact_at compact_to "
        "compact_keep last_turns",
    "CompressionSettings": "target over share most abstractive guideline",
    "KeepRule": "kind path name place worth",
}.items()}  # fmt: skip
"The settings that logs have always held, by the class of their table: a closed list."


def written(settings: BaseModel) -> dict[str, Any]:
    """Return what is kept of settings, as JSON values: all but later ones that are by default."""
    kept: dict[str, Any] = settings.model_dump(mode="json")
    always = _ALWAYS.get(type(settings).__name__, frozenset())
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if name not in always and value == field.get_default():
            del kept[name]
        elif isinstance(value, BaseModel):
            kept[name] = written(value)
        elif isinstance(value, tuple):
            kept[name] = [written(row) if isinstance(row, BaseModel) else row for row in value]
    return kept
