"""The facts of a prompt: what it was asked for, what stands in it, what fell out, and what was
brought to fewer tokens.
"""

from pydantic import BaseModel, ConfigDict, Field

from backcast.domain.events import BlobRef, EventType, Fact


class CompressedItem(BaseModel):
    """What extracts show of a longer text."""

    model_config = ConfigDict(frozen=True, extra="allow")

    whole: BlobRef
    state: str = ""
    "compressed, or offloaded where a preview stands for the text."
    tokens: int = 0
    before: int = 0
    "The tokens of the whole."
    ratio: float = 1.0
    target: int = 0
    protected: int = 0
    "The tokens of what had to stay."
    kept: tuple[tuple[int, int], ...] = ()
    "First and last line of each part that is shown, from 1."
    dropped: tuple[tuple[int, int], ...] = ()


class ContextItem(BaseModel):
    """One thing that a model was shown."""

    model_config = ConfigDict(frozen=True, extra="allow")

    node: str
    "The node that it shows: `function:pkg/validators.py::validate_email`."
    section: str = ""
    level: str = ""
    "name, signature, summary or full."
    found: str = ""
    "Where it was found: online, offline, or made for this."
    task: str | None = None
    "The finished task that contributed it, if it was found offline."
    text: BlobRef | None = None
    tokens: int = 0
    compressed: CompressedItem | None = None
    "What it shows of a longer text; None where it shows all."


class ContextOmission(BaseModel):
    """One thing that a model was not shown."""

    model_config = ConfigDict(frozen=True, extra="allow")

    node: str
    section: str = ""
    reason: str = ""


class RequestPart(BaseModel):
    """A part of a request that another program made, as it stood in the request's body."""

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str
    "system, tool, message, reminder, call, result, thinking, image, file, setting, or rest."
    text: BlobRef
    "The very bytes of the part."
    before: str = ""
    "The bytes of the body between the part before it and this one."
    role: str = ""
    name: str = ""
    "The name of a tool, of a called one too, or of a setting."
    tokens: int | None = None
    "Tokens of its text as the asked server counted them; None if not counted."


class ForeignRequest(BaseModel):
    """A request that another program sent to a model. Its bytes follow from its parts."""

    model_config = ConfigDict(frozen=True, extra="allow")

    path: str
    "The path that was asked, without the values of its query."
    dialect: str = ""
    "chat, messages, responses, completion: how the body is written."
    purpose: str = ""
    "Empty for a step of the conversation; else title or token count."
    fidelity: str = ""
    """Empty for the very bytes. Of a context formed from an agent's own log messages, or parts
    where the log lacks the system's instructions: its body is ours, and has no digest."""
    parts: tuple[RequestPart, ...] = ()
    "The parts that are not copied, in order."
    base: int | None = None
    "The version of the CONTEXT_BUILT whose parts are copied."
    copied: tuple[tuple[int, int, int], ...] = ()
    "Runs of copied parts: the place of the first here, its place in the base, how many."
    rest: str = ""
    "The bytes of the body behind its last part."
    digest: str = ""
    "SHA-256 of the body."
    size: int = 0
    "Bytes of the body."
    headers: dict[str, str] = Field(default_factory=dict)
    "What the client said of itself and of the body; never a key or a cookie."


class ContextBuilt(Fact):
    """A prompt was built. Its bytes follow from the items' texts, their order and the template."""

    type = EventType.CONTEXT_BUILT
    items: tuple[ContextItem, ...] = ()
    omissions: tuple[ContextOmission, ...] = ()
    target: str | None = None
    "The node that the prompt is about."
    query: str | None = None
    "The work to be done, in words."
    wanted: tuple[str, ...] = ()
    "Nodes to be shown in full."
    needs: tuple[str, ...] = ()
    "Paths of modules that the target was known to need."
    behind: str = ""
    "What the target stands behind where it is new, as its request says."
    stood_at: int | None = None
    "The last version of the task that the builder had read."
    profile: BlobRef | None = None
    policy: BlobRef | None = None
    template: str | None = None
    tokenizer: str | None = None
    "The id of the tokenizer."
    embedder: str | None = None
    "The id of the embedder, if the policy weighs meanings."
    query_vector: BlobRef | None = None
    "The vector of the request, as 32-bit floats, little-endian."
    code: dict[str, str] = Field(default_factory=dict)
    "The versions of the code that chose and rendered."
    tokens: int | None = None
    "Tokens of the whole rendered prompt."
    sections: dict[str, int] = Field(default_factory=dict)
    "The tokens of each section's items."
    shared_prefix: int | None = None
    "Leading tokens that the prompt shares with the one before it in the task."
    parted_in: str | None = None
    "The section in which the two differ first; empty if they do not."
    digest: str | None = None
    "SHA-256 of the rendered prompt."
    masked: int | None = None
    """How many of its texts (items, and the policy's words) are masked in this log, so that they no
    longer give the digest. None if the prompt is as it was shown."""
    request: ForeignRequest | None = None
    "The request of another program, which holds this prompt; None for a prompt that we built."


class TextCompressed(Fact):
    """A long text was brought to fewer tokens: by rules, or by a model behind what must stay."""

    type = EventType.TEXT_COMPRESSED
    about: str | None = None
    "What the text is, in a few words."
    text: BlobRef | None = None
    "The short form; what it is of stands under `compressed`."
    compressed: CompressedItem | None = None
    by: str | None = None
    "extractive, or the model that summed up the rest."
    answer: BlobRef | None = None
    "The model's answer as it came."
    refused: str = ""
    "Why the model's answer does not stand in it; empty where it does, or none was asked."
