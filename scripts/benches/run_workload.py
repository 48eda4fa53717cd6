"""A project that is written module by module, and a double of a model that answers at once.

Each module has about 60 lines, and its functions call those of up to three earlier ones. Each
iteration changes one function, and the tests of it fail until it is as it shall be: all of them
pass after the last iteration. The double stands for the model only where the engine is measured.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from backcast.domain.events import CheckFailure
from backcast.engine.workflow.sandbox.run import Outcome, SandboxLimits
from backcast.engine.workflow.spec import RunLimits, Spec, SpecModule, Test

FUNCTIONS = 6
"Of each module."
BACK = (1, 4, 9)
"The distances to the earlier modules that a module needs."
ASKED = (1, 2, 3)
"The argument of a function in the tests."
SHIFT = re.compile(r"^    shift = (\d+)$", re.MULTILINE)
HEAD = '''"""Rules of part {own:03}: numbers, weighed by what other parts say of them."""

{imports}LIMIT = 997
"Weights are below it."
'''
FUNCTION = '''

def weigh_{own:03}_{number}(values: list[int]) -> int:
    """The weight by rule {number}: the sum of the values, moved, and what {other} says."""
    shift = {shift}
    if not values:
        return shift
    total = sum(values) * {factor}{call}
    return (total + shift) % LIMIT
'''
TEST = """

def test_weigh_{own:03}_{number}():
    assert part_{own:03}.weigh_{own:03}_{number}({asked}) == {value}
"""


class Project(NamedTuple):
    """A project's size: its modules, and the iterations of each."""

    modules: int
    iterations: int

    @property
    def steps(self) -> int:
        """The number of calls of the model."""
        return self.modules * self.iterations

    def spec(self) -> Spec:
        """Return the specification of the task, with its plan."""
        numbers = range(self.modules)
        return Spec(
            task="project", goal="Weigh numbers by the rules of many parts",
            requirements=("a weight is a whole number from 0 to 996",),
            modules=tuple(
                SpecModule(
                    path=path(own), purpose=f"The {FUNCTIONS} rules of part {own:03}",
                    dependencies=tuple(map(path, needs(own))), tests=(f"test_{path(own)}",),
                )
                for own in numbers
            ),
            tests=tuple(Test(path=f"test_{path(own)}", source=self.test(own)) for own in numbers),
            limits=RunLimits(iterations=self.iterations, modules=max(20, self.modules)),
        )  # fmt: skip

    def test(self, own: int) -> str:
        """Return the test file of a module."""
        value = {n: self.value(own, n) for n in range(FUNCTIONS)}
        tests = (
            TEST.format(own=own, number=n, asked=list(ASKED), value=value[n])
            for n in range(FUNCTIONS)
        )
        return f"import part_{own:03}\n" + "".join(tests)

    def value(self, own: int, number: int) -> int:
        """Return the final value of a function."""
        other = needed(own, number)
        total = sum(ASKED) * (number + 2)
        total += 0 if other is None else self.value(other, number)
        return (total + shift_of(number, self.iterations)) % 997

    def checks(
        self, files: Mapping[str, bytes], tests: Sequence[str], limits: SandboxLimits
    ) -> Outcome:
        """Return the outcome of the tests from the text alone: nothing is run."""
        failures = [failure for test in tests for failure in self._failures(files, test)]
        output = "\n".join(f"E   {one.message}\n\n{one.at}: AssertionError" for one in failures)
        passed = FUNCTIONS * len(tests) - len(failures)
        return Outcome(passed, len(failures), 0, tuple(failures), output.encode(), 0.0, (), {}, {})

    def _failures(self, files: Mapping[str, bytes], test: str) -> list[CheckFailure]:
        name = test.removeprefix("test_")
        own, shifts = number_of(name), SHIFT.findall(files[name].decode())
        return [
            CheckFailure(
                name=f"{test}::test_weigh_{own:03}_{n}",
                message=f"AssertionError: assert {self.value(own, n) - 1} == {self.value(own, n)}"
                f"\n +  where {self.value(own, n) - 1} = <function weigh_{own:03}_{n} at 0x7f>"
                f"({list(ASKED)})\n +    where <function weigh_{own:03}_{n} at 0x7f> ="
                f" part_{own:03}.weigh_{own:03}_{n}",
                at=f"{test}:{5 + 4 * n}",
                kind="failure",
            )
            for n in range(FUNCTIONS)
            if int(shifts[n]) != shift_of(n, self.iterations)
        ]


def path(own: int) -> str:
    """Return the path of a module."""
    return f"part_{own:03}.py"


def number_of(name: str) -> int:
    """Return the number of the module at a path."""
    return int(name.removeprefix("part_").removesuffix(".py"))


def needs(own: int) -> list[int]:
    """Return the modules that a module needs: up to three earlier ones."""
    return [own - back for back in BACK if own >= back]


def needed(own: int, number: int) -> int | None:
    """Return the module whose function a function calls."""
    others = needs(own)
    return others[number % len(others)] if others else None


def shift_of(number: int, iteration: int) -> int:
    """Return a function's summand as of an iteration: each sixth iteration changes it."""
    return max((n for n in range(iteration + 1) if n % FUNCTIONS == number), default=0)


def text(own: int, iteration: int) -> str:
    """Return a module's text as of an iteration."""
    imports = "".join(f"import part_{other:03}\n" for other in sorted(needs(own)))
    parts = [HEAD.format(own=own, imports=f"{imports}\n" if imports else "")]
    for number in range(FUNCTIONS):
        other = needed(own, number)
        name = f"part_{other:03}" if other is not None else "nobody"
        call = f" + {name}.weigh_{other:03}_{number}(values)" if other is not None else ""
        shift = shift_of(number, iteration)
        parts.append(
            FUNCTION.format(
                own=own, number=number, other=name, shift=shift, factor=number + 2, call=call
            )
        )
    return "".join(parts)


def answer(module: str, iteration: int) -> str:
    """Return a model's answer with a module's text."""
    return f"```python {module}\n{text(number_of(module), iteration)}```\n"
