"""Candidates for a context: all that could be shown, each at up to five levels of detail."""

from collections.abc import Iterator, Sequence, Set

from backcast.domain.allocation import DUPLICATE, LOWER, OVER
from backcast.domain.context import Candidate, Item, LongText, Omission
from backcast.domain.errors import InputError
from backcast.domain.node import kind_of, name_of, node_id, path_of
from backcast.domain.outline import names_in
from backcast.domain.policy import ADDED, MAP
from backcast.domain.texts import TEXTS, reworded
from backcast.engine.context.answers import answers
from backcast.engine.context.evidence import DECIMALS, IDENTIFIER
from backcast.engine.context.knowledge import knowledge
from backcast.engine.context.likest_name import tells_of
from backcast.engine.context.long_texts import printed_output, shortened
from backcast.engine.context.maps import shown_map
from backcast.engine.context.module_header import values_of
from backcast.engine.context.module_order import ModuleOrder
from backcast.engine.context.module_symbols import last_name
from backcast.engine.context.patterns import recalled
from backcast.engine.context.plan_examples import PlanExamples
from backcast.engine.context.recall.references import is_reference, piece_of
from backcast.engine.context.request import Request
from backcast.engine.context.request_scope import BuildSettings, RequestScope
from backcast.engine.context.search.questions import asks_for_tests
from backcast.engine.context.sibling_module import SiblingModule
from backcast.engine.context.surroundings import Surroundings
from backcast.engine.context.symbol_candidates import SymbolCandidates
from backcast.engine.context.symbols import NONE, Symbols
from backcast.engine.context.verdicts import CheckedTests, trail
from backcast.engine.context.work import failures, iterations, left_out
from backcast.engine.history.task_states import TaskStates

GONE = "its text is gone"
OF_IT, LIKE_ITS_TEST = 0.5, 0.2
"How much a test tells of the target by name, to be its own; and the worth of all of that test."


class Candidates:
    """All candidates of one request."""

    def __init__(
        self, states: TaskStates, symbols: Symbols, request: Request, settings: BuildSettings
    ) -> None:
        self.scope = scope = RequestScope(states, symbols, request, settings)
        self.states, self.symbols, self.request = states, symbols, request
        self.policy, self.levels = scope.policy, scope.levels
        self.sources, self.details, self.facets = scope.sources, scope.details, scope.facets
        self.path, self.name, self.target = scope.path, scope.name, scope.target
        self.module = node_id("module", self.path)
        self.order = ModuleOrder(scope) if scope.policy.in_order else None
        self.surroundings = Surroundings(scope)
        sibling = SiblingModule(scope)
        self.sibling = sibling.candidate()
        self.sibling_tests = sibling.tests
        scope.beside = path_of(self.sibling.node) if self.sibling else ""
        if self.sibling and self.sibling.levels[0].name == "full":
            scope.whole = {*scope.whole, path_of(self.sibling.node)}
        self.functions = SymbolCandidates(scope, self.surroundings)
        self.plans = PlanExamples(states, request, self.policy, self.details.patterns)
        self.off_map: Sequence[Omission] = ()
        "Items of the map that are not shown."
        self.gone: Sequence[str] = ()
        "The nodes of functions and classes of earlier work whose text cannot be read any more."
        self.unknown: dict[str, str] = {}
        "Wanted references without a text, and why."
        self.long: Sequence[LongText] = ()
        "Texts that are offered as their extracts."
        self.other_tests = 0
        "Tests that use the target and are of something else, by their names."
        self.opened: dict[str, str] = {}
        "Constants that the lines of the target's module hold, and their text."

    def all(self) -> list[Candidate]:
        """Return every candidate that has something to show, in no particular order."""
        policy, details, online = self.policy, self.details, self.states.online
        failures_of_task = failures(online, policy, details, self.levels, self._beside())
        failed, long = shortened(self.scope, list(failures_of_task))
        printed, extracts = printed_output(self.scope, self._beside())
        self.long = [*long, *extracts]
        candidates = [self._task(), *self._map(), *failed, *printed]
        if self.path in self.facets:
            candidates.append(self._module())
            lines = self.scope.cache.lines
            candidates += iterations(online, self.path, policy, details, lines, self.levels)
            candidates += trail(self.states.checks, self.path, policy, details, lines, self.levels)
        candidates += [self.sibling, *self.sibling_tests()] if self.sibling else []
        candidates += map(self._file, sorted((*map(path_of, self._files()), *self.scope.needed)))
        candidates += self.functions.all()
        candidates += self._constants()
        candidates += self._tests()
        wanted = list(self._references())
        held = {line for one in wanted for line in _lines_of(one)}
        found = recalled(self.scope)
        candidates += (one for one in found.candidates if _is_news(one, held))
        candidates += wanted
        self.gone = found.gone
        candidates += self.plans.candidates(self.levels)
        candidates += knowledge(self.scope)
        candidates += answers(self.scope)
        return [candidate for candidate in candidates if candidate.levels]

    def left_out(self, items: Sequence[Item]) -> list[Omission]:
        """Return what is no candidate of a context of some items, and why; call it after `all`."""
        failed = left_out(self.states.online, self.policy, self._beside())
        omissions = [Omission(node, "recent errors", why) for node, why in failed]
        omissions += [
            Omission(
                node,
                "summaries",
                f"stale by {self.scope.stale_by(node)}: its summary, written by event"
                f" {self.scope.stale[node]}",
            )
            for node in sorted(self.scope.stale)
        ]
        module = node_id("module", self.path)
        shown = "".join(f"\n{item.text}\n" for item in items if item.node == module)
        omissions += (
            Omission(node, "related functions", DUPLICATE if f"\n{text}\n" in shown else OVER)
            for node, text in self.opened.items()
        )
        omissions += (Omission(node, "historical patterns", GONE) for node in self.gone)
        omissions += (Omission(node, ADDED, why) for node, why in self.unknown.items())
        omissions += self.plans.left_out()
        omissions += self.off_map
        if self.other_tests:
            omissions.append(Omission(f"{self.other_tests} other tests", "test results", LOWER))
        if self.functions.passed_over:
            count = f"{self.functions.passed_over} functions and classes"
            omissions.append(Omission(count, "related modules", LOWER))
        return omissions

    def noted(self, offered: Sequence[Candidate], large: Set[str]) -> list[Candidate]:
        """Return the candidates with the `large` ones less their full text, as the task notes."""
        names = ", ".join(sorted(large, key=lambda node: self.scope.wanted[node]))
        task = self._task(self.policy.words["large"].format(names=names))
        less = (
            item._replace(levels=item.levels[1:]) if item.node in large else item
            for item in offered
        )  # fmt: skip
        return [task if candidate.node == task.node else candidate for candidate in less]

    def mended(self, offered: Sequence[Candidate], items: Sequence[Item]) -> list[Candidate]:
        """Return the candidates such that what some items show whole, and in part in the lines
        around the place, stands whole in these; empty where there is nothing like that."""
        module, around = self.module, self.surroundings
        if not any(item.node == module and item.level == "part" for item in items):
            return []
        nodes = (one.node for one in offered if path_of(one.node) == self.path)
        own = {node for node in nodes if node in self.symbols.places}
        shown = {item.node for item in items if item.level == "full"} & own
        torn = {name for name in map(name_of, sorted(shown)) if around.torn(name)}
        around.mend(sorted(torn))
        if all(map(around.torn, torn)):
            return []
        held = {node for node in own if self.holds(node)}
        mended = [one._replace(within=module) if one.node in held else one for one in offered]
        return [self._module() if one.node == module else one for one in mended]

    def holds(self, node: str) -> bool:
        """Tell whether the lines around the place hold all of a function or class."""
        return self.surroundings.share(path_of(node), name_of(node)) == 1

    def _beside(self) -> set[str]:
        """Return the modules that are made side by side with the target's own."""
        state = self.states.progress
        if not state.wave or self.path not in state.modules:
            return set()
        doing = {path for path, module in state.modules.items() if module.status == "started"}
        return doing - {self.path}

    def _task(self, note: str = "") -> Candidate:
        state, texts = self.states.progress, self.policy.words
        query = reworded(self.request.query.strip(), TEXTS, texts)
        task = self.states.graph.task_id
        goal = texts["goal"].format(goal=" ".join((state.goal or "").split()) or task)
        new = texts.get("new") if self.path not in self.facets else None
        work = texts["work on"] if self.name else new or texts["work"]
        head = work.format(path=self.path, name=self.name) if self.path else ""
        levels = [
            ("full", (goal, head, note, query)),
            ("summary", (head, note, query)),
            ("summary", (head, query)),
            ("signature", (head, note, goal)),
            ("signature", (head, goal)),
            ("name", (head or texts["goal"].format(goal=task),)),
        ]
        lines = [(level, "\n".join(filter(None, parts))) for level, parts in levels]
        node = node_id("task", task)
        return Candidate(node, "task description", "CRITICAL", self.levels(lines, 1.0), 1.0)

    def _map(self) -> Iterator[Candidate]:
        """Yield the context map, as much of it as fits its own row of the budget."""
        if MAP not in self.policy.order or not self.states.map.items:
            return
        tokens = self.scope.profile.rows.get(MAP, 0)
        shown = shown_map(
            self.states.map, self.scope.modules, self.policy.map, tokens, self.scope.counting,
            self.policy.words[MAP],
        )  # fmt: skip
        self.off_map = shown.left_out
        if shown.text:
            levels = self.levels([("full", shown.text)], 1.0)
            priority = self.policy.priority(MAP)
            yield Candidate(f"map:{self.states.map.context}", MAP, priority, levels, 1.0,
                            (self.states.map.version,))  # fmt: skip

    def _module(self) -> Candidate:
        scope, node = self.scope, node_id("module", self.path)
        levels = [*self.surroundings.levels(self.details.module_tokens),
                ("signature", self._lines(self.path)), ("name", self.path)]  # fmt: skip
        if self.path in scope.whole:
            levels.insert(0, ("full", self.sources.text(self.path)))
        return Candidate(
            node, "current module", "CRITICAL", self.levels(levels, 1.0), 1.0,
            wanted=node in scope.wanted, rank=scope.wanted.get(node, 0), **scope.source(self.path),
        )  # fmt: skip

    def _files(self) -> list[str]:
        """Return the wanted modules other than the target's own."""
        own = node_id("module", self.path)
        return [node for node in self.scope.wanted if kind_of(node) == "module" and node != own]

    def _file(self, path: str) -> Candidate:
        """Return a module that is wanted, or needed, as a whole."""
        node, names = node_id("module", path), names_in(self.facets[path])
        tests = any(self.facets[path][f"sig:{name}"][:1] == ("test",) for name in names)
        section = "test results" if tests else ADDED
        scope, needed = self.scope, path in self.scope.needed
        text = scope.summary(node, self.details.module_tokens) if needed else ""
        levels = [("full", self.sources.text(path)), ("signature", self._lines(path)),
                ("summary", text), ("name", path)]  # fmt: skip
        return Candidate(
            node, "dependencies" if needed else section, "CRITICAL", self.levels(levels, 1.0), 1.0,
            wanted=not needed, rank=scope.rank(node), **scope.source(path),
        )  # fmt: skip

    def _references(self) -> Iterator[Candidate]:
        """Yield the wanted texts of other tasks, and what was taken out of this one."""
        for node in filter(is_reference, self.scope.wanted):
            try:
                piece = piece_of(self.scope.cache, self.states, node)
            except InputError as error:
                self.unknown[node] = str(error)
                continue
            levels = [("full", f"# {piece.reference}\n{piece.text}"), ("name", f"# {node}")]
            yield Candidate(
                node, ADDED, "CRITICAL", self.levels(levels, 1.0), 1.0, wanted=True,
                rank=self.scope.rank(node), task=piece.task,
            )  # fmt: skip

    def _lines(self, path: str) -> str:
        """Return the constants of a module, and its top-level signatures, as lines."""
        names = (name for name in names_in(self.facets[path]) if "." not in name)
        own = (name_of(node) for node in self.symbols.constants(path) if path_of(node) == path)
        lines = [self.sources.constant(path, name).signature for name in own]
        lines += [self.sources.piece(path, name).signature for name in names]
        return "\n".join(filter(None, lines))

    def _constants(self) -> Iterator[Candidate]:
        """Yield the module's constants, own and imported, each as its own line."""
        words = set(IDENTIFIER.findall(self.request.query))
        needed, in_order = set(self.symbols.reads(self.target)), self.policy.in_order
        near = {*values_of(self.scope), *self.functions.values.nodes} if in_order else set[str]()
        for node in (*self.symbols.constants(self.path), *self.functions.values.nodes):
            path, name = path_of(node), name_of(node)
            piece = self.sources.constant(path, name)
            own = path == self.path
            if own and piece.signature and self.surroundings.has(piece.signature):
                self.opened[node] = piece.signature
                continue
            if in_order and (not piece.signature or self._is_own(node)):
                continue  # A name on a line of its own tells nothing, nor does a line said twice.
            why = "needed" if node in needed else "named" if name in words or node in near else \
                "own file" if own else "imported"  # fmt: skip
            score = self.policy.constants.get(why, 0.0)
            section = "related functions" if own else "related modules"
            lone = [] if in_order else [("name", name)]
            levels = self.levels([("signature", piece.signature), *lone], score)
            priority = self.policy.priority(section)
            yield Candidate(
                node, section, priority, levels, score, place=piece.place,
                within=self.scope.within(node), **self.scope.source(path),
            )  # fmt: skip

    def _tests(self) -> Iterator[Candidate]:
        """Yield the tests of the target, or of its module, the wanted ones, and their verdicts."""
        rows = self.symbols.rows.get(self.path, NONE)
        own = {self.target} if self.name else set(self.symbols.nodes[rows])
        if self.scope.choice is not self.policy and not asks_for_tests(self.request.query):
            own = set()  # Tests of all that is in a large module tell nothing of what is asked.
        tests = self.symbols.tests(self.path, own)
        tests |= {node for node in self.scope.wanted if kind_of(node) == "test"}
        ordered, best = sorted(tests), 0.0
        if self.policy.in_order and ordered:
            told_by = {test: tells_of(test, self.target) for test in ordered}
            ordered.sort(key=lambda test: (-told_by[test], len(last_name(test))))
            best = told_by[ordered[0]]
            if best >= OF_IT:
                ordered = [test for test in ordered if told_by[test] or test in self.scope.wanted]
                self.other_tests = len(tests) - len(ordered)
        for number, node in enumerate(ordered):
            alike = LIKE_ITS_TEST if best >= OF_IT and not number else 0.0
            yield self._test(node, round(0.5 / (1 + number), DECIMALS), alike)
        checked = CheckedTests(self.states, self.symbols, self.path, sorted(tests))
        yield from checked.verdicts(self.policy, self.levels)

    def _is_own(self, node: str) -> bool:
        return not self.scope.name and path_of(node) == self.path

    def _test(self, node: str, score: float, alike: float = 0.0) -> Candidate:
        path, wanted = path_of(node), node in self.scope.wanted
        piece = self.sources.piece(path, name_of(node))
        levels = {"full": piece.text, "signature": piece.signature, "name": last_name(node)}
        if self.details.tests == "signature" and not (wanted or alike):
            del levels["full"]
        if self.details.tests == "name" and not wanted:
            levels = {"name": levels["name"]}
        priority = "CRITICAL" if wanted else self.policy.priority("test results")
        return Candidate(
            node, "test results", priority, self.levels(list(levels.items()), score, alike), score,
            place=piece.place, within=self.scope.within(node), wanted=wanted,
            rank=self.scope.wanted.get(node, 0), **self.scope.source(path),
        )  # fmt: skip


def _is_news(candidate: Candidate, held: Set[str]) -> bool:
    """Tell whether earlier work has a line of code that is not shown already."""
    lines = _lines_of(candidate)
    return not lines or not lines <= held


def _lines_of(candidate: Candidate) -> Set[str]:
    """Return the lines of the full text of earlier work, less that which tells where it is from."""
    text = candidate.levels[0].text if candidate.levels else ""
    return {line.strip() for line in text.split("\n")[1:]} - {"", "..."}
