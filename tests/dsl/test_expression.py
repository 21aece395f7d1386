"""Rules are exact, three-valued, and have gaps."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from isoloss.dsl.study.expression import GAP, UNKNOWN, Gap, Unknown, evaluate
from isoloss.dsl.study.study import Call, Conditional, Const, Expr, Operation, Quantity
from tests.dsl.strategies import rationals

IMAGES, FID = Quantity("images"), Quantity("fid")


def test_rationals_stay_exact() -> None:
    assert evaluate(Operation("*", (Const(Fraction(8, 255)), Const(255))), {}) == 8
    assert evaluate(Operation("/", (Const(1), Const(3))), {}) == Fraction(1, 3)
    assert isinstance(evaluate(Operation("/", (Const(1024), Const(2))), {}), int)


@given(rationals, rationals)
def test_arithmetic_agrees_with_fractions(a: Fraction, b: Fraction) -> None:
    sides = (Const(a), Const(b))
    assert evaluate(Operation("+", sides), {}) == a + b
    assert evaluate(Operation("-", sides), {}) == a - b
    assert evaluate(Operation("*", sides), {}) == a * b
    assert evaluate(Operation("<=", sides), {}) is (a <= b)
    assert evaluate(Operation("/", sides), {}) == (a / b if b else GAP)


TRUTH = [True, False, UNKNOWN]


def _of(value: object) -> Expr:
    return Quantity("nothing") if isinstance(value, Unknown) else Const(bool(value))


@given(st.sampled_from(TRUTH), st.sampled_from(TRUTH))
def test_three_valued_logic(a: object, b: object) -> None:
    both = evaluate(Operation("and", (_of(a), _of(b))), {})
    either = evaluate(Operation("or", (_of(a), _of(b))), {})
    assert both is (False if a is False or b is False else UNKNOWN if UNKNOWN in (a, b) else True)
    assert either is (True if a is True or b is True else UNKNOWN if UNKNOWN in (a, b) else False)


def test_unknown_and_known_quantities() -> None:
    small = Operation("<", (FID, Const(10)))
    assert evaluate(small, {"images": 5}) is UNKNOWN
    assert evaluate(small, {"fid": None}) is UNKNOWN
    assert evaluate(small, {"fid": 1.65}) is True
    # Unlimited images are more than any number of them.
    within = Operation("<=", (IMAGES, Quantity("generator.images")))
    assert evaluate(within, {"images": 10**9, "generator.images": None}) is True


def test_a_measured_float_equals_its_decimal() -> None:
    known = {"fid": 1.65, "epochs": 200.0}
    stated = Const(Fraction("1.65"))
    assert evaluate(Operation("==", (FID, stated)), known) is True
    assert evaluate(Operation("!=", (FID, stated)), known) is False
    assert evaluate(Operation("<", (FID, stated)), known) is False
    assert evaluate(Operation("<=", (FID, stated)), known) is True
    assert evaluate(Operation("in", (FID, Const(3), stated)), known) is True
    total = Operation("+", (FID, Const(Fraction("0.01"))))
    assert evaluate(Operation("==", (total, Const(Fraction("1.66")))), known) is True
    # A whole float is a whole number: a batch may be computed from it.
    assert isinstance(evaluate(Quantity("epochs"), known), int)


@given(st.floats(min_value=0, allow_infinity=False))
def test_a_float_is_found_by_the_number_it_prints_as(value: float) -> None:
    stated = Const(Fraction(repr(value)))
    assert evaluate(Operation("==", (FID, stated)), {"fid": value}) is True
    assert evaluate(Operation("<", (FID, stated)), {"fid": value}) is False


def test_gaps() -> None:
    rule = Conditional(Operation("<=", (IMAGES, Const(10))), Const(64), None)
    assert evaluate(rule, {"images": 5}) == 64
    assert isinstance(evaluate(rule, {"images": 50}), Gap)
    assert isinstance(evaluate(Operation("+", (rule, Const(1))), {"images": 50}), Gap)
    assert isinstance(evaluate(Operation("**", (Const(-2), Const(Fraction(1, 2)))), {}), Gap)


def test_an_unknown_test_with_one_answer_is_known() -> None:
    rule = Conditional(Operation("<", (FID, Const(10))), Const(64), Const(64))
    assert evaluate(rule, {}) == 64


def test_membership() -> None:
    wrn = Call("wrn", (("depth", 28), ("width", 4)))
    rule = Operation("in", (Quantity("model"), Const(wrn), Const(Call("cnn", (("width", 1),)))))
    assert evaluate(rule, {"model": wrn}) is True
    assert evaluate(rule, {"model": Call("cnn", (("width", 2),))}) is False
    assert evaluate(rule, {}) is UNKNOWN
