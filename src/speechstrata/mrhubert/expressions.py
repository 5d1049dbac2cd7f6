"""Python expressions in checkpoint configs, read without being evaluated.

A released config holds its extractor as ``"[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2"``. Only whole numbers,
tuples, lists, ``+`` and ``*`` are understood, and no result is larger than a network could want.
"""

import ast

from speechstrata.errors import CheckpointError

_LONGEST_TEXT, _LARGEST_NUMBER, _LONGEST_SEQUENCE, _DEEPEST = 2000, 10**6, 512, 32

Value = int | tuple["Value", ...] | list["Value"]


def parse_expression(text: str) -> Value:
    """The value of an expression of whole numbers, tuples and lists, ``+`` and ``*``.

    Raises:
        CheckpointError: anything else, or a value that is too large.
    """
    if len(text) > _LONGEST_TEXT:
        raise _refused(text, "it is too long")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _refused(text, "it is not an expression") from None
    return _value(tree.body, text, 0)


def _value(node: ast.expr, text: str, depth: int) -> Value:
    if depth > _DEEPEST:
        raise _refused(text, "it is nested too deeply")
    match node:
        case ast.Constant(value=int() as number) if not isinstance(number, bool):
            return _bounded(number, text)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            negated = _value(operand, text, depth + 1)
            if isinstance(negated, int):
                return -negated
        case ast.Tuple(elts=items):
            return _bounded(tuple(_value(item, text, depth + 1) for item in items), text)
        case ast.List(elts=items):
            return _bounded([_value(item, text, depth + 1) for item in items], text)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _sum(_value(left, text, depth + 1), _value(right, text, depth + 1), text)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return _product(_value(left, text, depth + 1), _value(right, text, depth + 1), text)
    raise _refused(text, f"{ast.unparse(node)[:40]!r} is neither a whole number, a tuple, a list, a sum nor a product")


def _sum(left: Value, right: Value, text: str) -> Value:
    if isinstance(left, int) and isinstance(right, int):
        return _bounded(left + right, text)
    if isinstance(left, list) and isinstance(right, list):
        return _bounded(left + right, text)
    if isinstance(left, tuple) and isinstance(right, tuple):
        return _bounded(left + right, text)
    raise _refused(text, "it adds values of different kinds")


def _product(left: Value, right: Value, text: str) -> Value:
    if not isinstance(left, int):
        left, right = right, left
    if not isinstance(left, int):
        raise _refused(text, "it multiplies two sequences")
    if isinstance(right, int):
        return _bounded(left * right, text)
    if left * len(right) > _LONGEST_SEQUENCE:  # before the memory is taken
        raise _refused(text, "its value is too large")
    return right * left


def _bounded(value: Value, text: str) -> Value:
    too_large = abs(value) > _LARGEST_NUMBER if isinstance(value, int) else len(value) > _LONGEST_SEQUENCE
    if too_large:
        raise _refused(text, "its value is too large")
    return value


def _refused(text: str, reason: str) -> CheckpointError:
    return CheckpointError(
        f"the checkpoint's expression {text[:80]!r} was not read: {reason}",
        "released checkpoints hold expressions such as [(512,10,5)] + [(512,3,2)] * 4",
    )
