"""Opens what a run works with: the model that a name means, its profile, and the policy."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from backcast.domain.budget import MISTRAL_7B_8K, PROFILES, ModelProfile
from backcast.domain.errors import DamagedError, InputError, UnavailableError
from backcast.domain.events import PolicyUsed
from backcast.domain.policy import COVERAGE, DEFAULT, Policy
from backcast.domain.spending import Allowance, Price
from backcast.engine.context.policies import policy_of
from backcast.engine.context.recorded import profile_of
from backcast.engine.history.branches import lineage_of
from backcast.engine.log.store import EventStore
from backcast.engine.models import Model
from backcast.engine.models.address import shown
from backcast.engine.models.so_far import AnswersSoFar
from backcast.engine.models.templates import TEMPLATES
from backcast.engine.models.tokenizers import Tokenizer, counted_by, tokenizer_of

if TYPE_CHECKING:
    from backcast.engine.models.llama_server import Server


PROBE = (
    'def f(x: int) -> str:\n    """Größe, 字, 🌍."""\n\treturn f\'{x:>08.3f}\' * 2 ** -1  # a_b\n'
)
"A text whose tokens tell two tokenizers apart."


log = logging.getLogger("backcast")


class Alternative(NamedTuple):
    """What is asked for code beside a run's own model."""

    model: Model
    policy: Policy | None = None
    "By which its prompt is built; None where it is asked with the prompt of the first."


class Runtime(NamedTuple):
    """A model with its profile and policy."""

    model: Model
    name: str
    "The address by which the run was given the model."
    profile: ModelProfile
    policy: Policy = DEFAULT
    out: str = ""
    "The folder for the code."
    concurrency: int = 1
    "Calls that run side by side at most."
    budget: Allowance | None = None
    "What the calls of the task may cost together; None for what its log says."
    price: Price = Price()
    alternatives: tuple[Alternative, ...] = ()
    "What is asked for code beside the model; the first answer that can be used wins."
    reuse: str = ""
    """Which answers that the store's log has are used again for the same question: empty for none,
    greedy for those at temperature 0, drawn for any."""
    coming: AnswersSoFar | None = None
    "Where the answers stand that come at this moment, for whoever shows them."
    warming: str = "shared"
    """What a server reads before it is asked: what prompts of a wave begin with (shared), the next
    prompt while checks run too (ahead), or nothing (no)."""


class Before(NamedTuple):
    """The settings of a task's last run, as its log has them."""

    model: str | None = None
    profile: ModelProfile | None = None
    policy: Policy = DEFAULT
    out: str | None = None


def used_before(store: EventStore, task_id: str) -> Before:
    """Return the settings of a task's last run, as far as they can be read; empty before one."""
    last, out = None, None
    copied = lineage_of(store, task_id).copied
    for event in store.read(task_id, types=["POLICY_USED"]):
        if isinstance(event.fact, PolicyUsed):
            last = event.fact
            # A branch does not own the folder of its origin's code.
            out = last.out if event.version > copied else None
    if last is None:
        return Before()
    profile, policy = None, DEFAULT
    try:
        profile = profile_of(store.get(last.profile)) if last.profile else None
    except (DamagedError, InputError) as error:
        log.warning("task %s: the profile of its last run is not used: %s", task_id, error)
    try:
        policy = policy_of(store.get(last.policy)) if last.policy else COVERAGE
    except (DamagedError, InputError) as error:  # it may be of another version
        log.warning("task %s: the policy of its last run is not used: %s", task_id, error)
    model = last.model
    if model and model.startswith("recorded:"):  # as version 0.1 wrote it
        model = f"answers:{model.removeprefix('recorded:')}"
    return Before(model, profile, policy, out)


def open_runtime(
    name: str,
    task_id: str = "",
    profile: ModelProfile | str | None = None,
    policy: Policy = DEFAULT,
    *,
    template: str = "",
    root: str = "",
    out: str = "",
    strict: bool = False,
    deterministic: bool = False,
) -> Runtime:
    """Return the model that `name` addresses, with its profile.

    A name is `answers:FILE`, `llama:FILE` or the URL of a server; `InputError` for any other. A
    given profile divides the window; tokens and chat template are the model's own, where it tells
    them. `template` (a name, a file in Jinja, or one as a log holds it) is used instead of the own
    one of a model in this process. `root` is the root task of a branch, whose recorded answers the
    branch may use.
    """
    kind, _, rest = name.partition(":")
    profile = profile_named(profile) if isinstance(profile, str) else profile
    if kind == "answers" and rest:
        model, profile = _recorded(Path(rest), task_id, root, profile, strict=strict)
    elif kind == "llama" and rest:
        model, profile = _in_process(rest, profile, template)
    elif kind.lower() in ("http", "https"):
        model, profile = _on_server(name, profile, deterministic=deterministic)
    else:
        raise InputError(
            "needed a model as answers:FILE, llama:FILE or http://HOST:PORT/v1,"
            f" found {shown(name)!r}"
        )
    return Runtime(model, name, profile, policy, out)


def _recorded(
    path: Path, task_id: str, root: str, profile: ModelProfile | None, *, strict: bool
) -> tuple[Model, ModelProfile]:
    """Return the answers of a recorded run, with its profile; or of a recording, by prompt."""
    from backcast.engine.models.recording import Recording, is_recording
    from backcast.engine.workflow.recorded_run import RecordedRun

    if is_recording(path):
        found = profile or MISTRAL_7B_8K
        return Recording(path), found._replace(tokenizer=counted_by(found.tokenizer))
    model = RecordedRun(path, strict=strict, task=task_id, root=root)
    before = used_before(model.store, model.task).profile
    chosen = profile or before or MISTRAL_7B_8K
    if profile is None:
        chosen = chosen._replace(tokenizer=counted_by(chosen.tokenizer))
    return model, chosen


def _in_process(
    place: str, budget: ModelProfile | None, template: str
) -> tuple[Model, ModelProfile]:
    """Return llama.cpp with a model file, whose own vocabulary and chat template make prompts."""
    from backcast.engine.models.llama import LlamaModel
    from backcast.engine.models.own import file_profile
    from backcast.engine.models.places import model_file

    found = file_profile(place, budget, _source(template))
    profile = found.profile
    model = LlamaModel(
        model_file(place), profile.window, template=found.template, yarn=profile.yarn
    )
    for note in found.notes:
        log.warning("%s", note)
    return model, profile


def _source(template: str) -> str:
    """Return a chat template by its name, or as it is written; else what its file holds."""
    if not template or template in TEMPLATES or "{" in template:
        return template
    path = Path(template).expanduser()
    try:
        if (source := path.read_text(encoding="utf-8")).strip():
            return source
        why = "it is empty"
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
    raise InputError(
        f"needed a chat template of {', '.join(TEMPLATES)} or a file in Jinja, found"
        f" {template[:80]!r}: {why}"
    )


def _on_server(
    url: str, profile: ModelProfile | None, *, deterministic: bool
) -> tuple[Model, ModelProfile]:
    """Return the model of a server, with a profile for the window that it reports."""
    from backcast.engine.models.llama_server import Server
    from backcast.engine.models.server import ServerModel

    model = ServerModel(url, deterministic=deterministic)
    if profile is None and not model.native:
        raise InputError(f"{url}: needed --profile, since only llama-server tells its own")
    if model.native:
        server = Server(model.root)
        profile = _as_served(server, profile) if profile else server.profile()
        if profile.tokenizer == f"server:{server.url}":
            profile = profile._replace(tokenizer=_local_tokenizer(server) or profile.tokenizer)
    assert profile is not None
    if model.window is not None and profile.window > model.window:
        raise InputError(
            f"{url}: needed a window of {profile.window:,} tokens for profile {profile.name},"
            f" found {model.window:,}"
        )
    return model, profile


def _as_served(server: "Server", profile: ModelProfile) -> ModelProfile:
    """Return the rows of a profile, with the template and tokens by which a server reads prompts.

    A tokenizer that cannot be asked here stays, since nothing speaks against it.
    """
    served = profile._replace(template=server.template())
    try:
        counter = _exact_tokenizer(profile.tokenizer)
        ours = counter.encode(PROBE) if counter else None
    except UnavailableError:  # the profile counts by another server
        return served
    if ours is None or ours == server.encode(PROBE):
        return served
    return served._replace(tokenizer=f"server:{server.url}")


def _local_tokenizer(server: "Server") -> str:
    """Return the local tokenizer that agrees with a server; empty where none does.

    With it prompts can be counted and derived again without the server.
    """
    for name in ("mistral-v3", "qwen3"):
        counter = _exact_tokenizer(name)
        if counter is not None and counter.encode(PROBE) == server.encode(PROBE):
            return name
    return ""


def _exact_tokenizer(name: str) -> Tokenizer | None:
    """Return the tokenizer of a name; None where it is missing here or only an upper bound."""
    try:
        counter = tokenizer_of(name)
    except InputError:
        return None
    return counter if counter.exact else None


def profile_named(name: str) -> ModelProfile:
    """Return a profile by its name, or that of `server:URL` or of a model file, `gguf:FILE`."""
    if name.startswith("server:"):
        from backcast.engine.models.llama_server import Server

        return Server(name.removeprefix("server:")).profile()
    if name.startswith("gguf:") and name != "gguf:":
        from backcast.engine.models.own import file_profile

        found = file_profile(name.removeprefix("gguf:"))
        for note in found.notes:
            log.warning("%s", note)
        return found.profile
    if name not in PROFILES:
        known = ", ".join(PROFILES)
        raise InputError(
            f"needed a profile of {known}, server:URL or gguf:FILE, found {shown(name)!r}"
        )
    return PROFILES[name]
