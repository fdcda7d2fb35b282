"""The check of text that somebody else's verifier will evaluate: literals and bounded arithmetic pass, all else is refused.

Refused: calls but of elementary functions such as `sin(x)`, attributes, subscripts, names longer than a letter with digits, comprehensions, lambdas, f-strings, shifts,
repetition of texts and lists, and powers whose result would not fit into `MAX_BITS`.
"""

import ast
import re

MAX_CHARS = 4_096
"""Longer text is refused unread."""
MAX_BRACKETS = 64
"""Nested brackets; counted before the parser, whose recursion is in C."""
MAX_DEPTH = 96
"""Nested nodes of the syntax tree."""
MAX_BITS = 16_384
"""Bits of an integer that the text may compute."""
_FREE_BITS = 64
"""Bits that a variable is taken for."""
FUNCTIONS = frozenset(
    (
        "sqrt",
        "exp",
        "log",
        "ln",
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "csc",
        "asin",
        "acos",
        "atan",
        "sinh",
        "cosh",
        "tanh",
        "Abs",
    )
)
"""Functions that may be called with one argument; answers of calculus need them."""
SYMPY = frozenset(("Symbol", "Integer", "Float", "Rational"))
"""Constructors that sympy's parser puts around names and numbers before it evaluates a text."""
_VARIABLE = re.compile(r"[A-Za-z][0-9]{0,2}", re.ASCII)
_CONTAINERS = (ast.List, ast.Tuple, ast.Set, ast.Dict)


class UnsafeText(ValueError):
    """The text is more than literals and arithmetic."""


def unsafe_reason(text: str, constructors: frozenset[str] = frozenset()) -> str | None:
    """Why evaluating a text could do more than give a number, text or container; None where it could not.

    >>> unsafe_reason("[1, (2 + x) / 3, 'a']") is None
    True
    >>> unsafe_reason("__import__('os')"), unsafe_reason("9**9**9")
    ('a call', 'a power that is too large')

    Args:
        text: The text.
        constructors: Names that may be called with constants, such as `SYMPY`.
    """
    if len(text) > MAX_CHARS:
        return f"more than {MAX_CHARS} characters"
    depth = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if depth > MAX_BRACKETS:
            return f"more than {MAX_BRACKETS} nested brackets"
    try:
        tree = ast.parse(text.strip(), mode="eval")
        _check(tree.body, 0, constructors)
    except UnsafeText as error:
        return str(error)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return "no expression"
    return None


def _check(node: ast.expr, depth: int, constructors: frozenset[str]) -> int:
    """Checks a node and returns the bits that its number can have."""
    if depth > MAX_DEPTH:
        raise UnsafeText(f"more than {MAX_DEPTH} nested operations")
    match node:
        case ast.Constant(value=bool() | float() | str() | None):
            return _FREE_BITS
        case ast.Constant(value=int(value)):
            return _bounded(value.bit_length())
        case ast.Name(id=name) if _VARIABLE.fullmatch(name):
            return _FREE_BITS
        case ast.List() | ast.Tuple() | ast.Set():
            for each in node.elts:
                _check(each, depth + 1, constructors)
            return _FREE_BITS
        case ast.Dict():
            for each in (*node.keys, *node.values):
                if each is None:
                    raise UnsafeText("an unpacked dictionary")
                _check(each, depth + 1, constructors)
            return _FREE_BITS
        case ast.UnaryOp(op=ast.UAdd() | ast.USub()):
            return _check(node.operand, depth + 1, constructors)
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in FUNCTIONS:
            _check(argument, depth + 1, constructors)
            return _FREE_BITS
        case ast.Call(func=ast.Name(id=name), keywords=[]) if name in constructors:
            values = [each.value for each in node.args if isinstance(each, ast.Constant)]
            if len(values) < len(node.args) or any(isinstance(each, str) and len(each) > 64 for each in values):
                raise UnsafeText("a call")
            return _bounded(max([_FREE_BITS, *(each.bit_length() for each in values if isinstance(each, int))]))
        case ast.BinOp():
            return _check_operation(node, depth + 1, constructors)
        case _:
            raise UnsafeText(_NAMES.get(type(node), "something that is no literal"))


def _check_operation(node: ast.BinOp, depth: int, constructors: frozenset[str]) -> int:
    for side in (node.left, node.right):
        if isinstance(side, _CONTAINERS) or (
            isinstance(side, ast.Constant) and not isinstance(side.value, int | float)
        ):
            raise UnsafeText("an operation on texts or containers")
    left, right = _check(node.left, depth, constructors), _check(node.right, depth, constructors)
    match node.op:
        case ast.Pow():
            return _bounded(left * _exponent(node.right))
        case ast.Mult():
            return _bounded(left + right)
        case ast.Add() | ast.Sub() | ast.Div() | ast.FloorDiv() | ast.Mod():
            return _bounded(max(left, right) + 1)
        case _:
            raise UnsafeText("an operator that is not + - * / // % **")


def _exponent(node: ast.expr) -> int:
    """The size of an exponent. One that is no plain number counts as too large."""
    while True:
        match node:
            case ast.UnaryOp(op=ast.UAdd() | ast.USub(), operand=inner) | ast.Call(args=[ast.Constant() as inner]):
                node = inner  # a sign, or a constructor such as `Integer(2)`, which was checked
            case _:
                break
    match node:
        case ast.Constant(value=int(value)):
            return abs(value)
        case ast.Constant(value=float(value)) if abs(value) < MAX_BITS:
            return int(abs(value)) + 1
        case ast.BinOp(op=ast.Div(), left=ast.Constant(value=int(value)), right=ast.Constant(value=int())):
            return abs(value)  # a root such as x**(1/2)
        case _:
            raise UnsafeText("a power that is too large")


def _bounded(bits: int) -> int:
    if bits > MAX_BITS:
        raise UnsafeText("a power that is too large")
    return bits


_NAMES: dict[type[ast.expr], str] = {
    ast.Call: "a call",
    ast.Attribute: "an attribute",
    ast.Subscript: "a subscript",
    ast.Name: "a name",
    ast.Lambda: "a function",
    ast.ListComp: "a comprehension",
    ast.SetComp: "a comprehension",
    ast.DictComp: "a comprehension",
    ast.GeneratorExp: "a comprehension",
    ast.JoinedStr: "a formatted text",
    ast.NamedExpr: "an assignment",
    ast.IfExp: "a condition",
    ast.Compare: "a comparison",
    ast.BoolOp: "a condition",
    ast.Starred: "an unpacked value",
    ast.Await: "an await",
}
