"""What the Python reference needs to know: functions that take a value's fields one by one show them."""

import importlib
import inspect
from typing import Any

import griffe


class Signatures(griffe.Extension):
    """Functions below `@takes` have the signature that they have when they are called."""

    def on_function_instance(self, *, func: griffe.Function, **_: Any) -> None:
        """Put the parameters of the running function in the place of those in its source."""
        if not any(str(each.value).startswith("takes(") for each in func.decorators):
            return
        function: Any = importlib.import_module(func.module.path)
        for name in func.path.removeprefix(func.module.path + ".").split("."):
            function = getattr(function, name)
        written = {each.name: each.annotation for each in func.parameters}
        func.parameters = griffe.Parameters(
            *[
                griffe.Parameter(
                    each.name,
                    annotation=written.get(each.name) or each.annotation,
                    kind=griffe.ParameterKind(each.kind.description),
                    default=None if each.default is each.empty else repr(each.default),
                )
                for each in inspect.signature(getattr(function, "__func__", function)).parameters.values()
            ]
        )
