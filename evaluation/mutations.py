"""Mutants of a Python function, of five kinds: what a test suite should tell from the function itself."""

import ast
import copy
from collections.abc import Callable, Iterator

COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
}  # fmt: skip


def _comparison(node: ast.AST) -> bool:
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARED:
        node.ops[0] = COMPARED[type(node.ops[0])]()
        return True
    return False


def _arithmetic(node: ast.AST) -> bool:
    if isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in COMPUTED:
        node.op = COMPUTED[type(node.op)]()
        return True
    return False


def _constant(node: ast.AST) -> bool:
    if not isinstance(node, ast.Constant) or isinstance(node.value, bool):
        return False
    if isinstance(node.value, int | float):
        node.value = node.value + 1
    elif isinstance(node.value, str) and node.value:
        node.value = node.value + "x"
    else:
        return False
    return True


def _condition(node: ast.AST) -> bool:
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        node.test = ast.UnaryOp(ast.Not(), node.test)
        return True
    return False


def _returned(node: ast.AST) -> bool:
    if isinstance(node, ast.Return) and node.value is not None:
        node.value = ast.Tuple([node.value], ast.Load())
        return True
    return False


KINDS: dict[str, Callable[[ast.AST], bool]] = {
    "comparison": _comparison,
    "arithmetic": _arithmetic,
    "constant": _constant,
    "condition": _condition,
    "returned": _returned,
}


def mutants(source: str) -> Iterator[tuple[str, str]]:
    """(kind, mutated source): the first place of each kind that can be changed, docstrings left alone."""
    tree = ast.parse(source)
    for kind, change in KINDS.items():
        copied = copy.deepcopy(tree)
        documents = {
            id(n.body[0].value)
            for n in ast.walk(copied)
            if isinstance(n, ast.FunctionDef) and isinstance(n.body[0], ast.Expr)
        }
        if any(id(node) not in documents and change(node) for node in ast.walk(copied)):
            yield kind, ast.unparse(ast.fix_missing_locations(copied))
