"""A strict reader of OCA rules: what the grammar does not allow is refused with its line."""

import re
from dataclasses import dataclass, field

_TOKENS = re.compile(
    r"""(?P<space>\s+|//[^\n]*)
    |(?P<text>"[^"\n]*")
    |(?P<number>\d+(?:\.\d+)?)
    |(?P<operator>==|!=|<=|>=|<|>|=|-(?![A-Z])|[(){};,])
    |(?P<word>[A-Za-z][A-Za-z0-9_]*(?:[.-][A-Za-z0-9_]+)*)""",
    re.VERBOSE,
)
_COMPARISONS = ("==", "!=", "<=", ">=", "<", ">")
_CLASS_KEYS = {
    "RAW.TYPE", "DO.CATG", "DO.CLASS", "REFLEX.CATG", "REFLEX.TARGET", "PRO.CATG", "PACK.DIR", "CATG",
}  # fmt: skip
_PRODUCT_KEYS = {"PRO.CATG", "REFLEX.CATG", "PRO.EXT"}


class OcaError(ValueError):
    pass


@dataclass
class Rule:
    condition: tuple
    values: dict


@dataclass
class Execute:
    action: str
    source: str
    condition: tuple
    group: tuple
    template: tuple


@dataclass
class Select:
    label: str
    source: str
    condition: tuple
    minimum: int
    maximum: int


@dataclass
class Action:
    name: str
    recipe: str = ""
    selects: list = field(default_factory=list)
    products: dict = field(default_factory=dict)


@dataclass
class Rules:
    rules: list = field(default_factory=list)
    executes: list = field(default_factory=list)
    actions: dict = field(default_factory=dict)


def tokens(text):
    position, found = 0, []
    while position < len(text):
        match = _TOKENS.match(text, position)
        if not match:
            raise OcaError(f"line {text.count(chr(10), 0, position) + 1}: {text[position : position + 20]!r}")
        if match.lastgroup != "space":
            found.append((match.lastgroup, match.group(), text.count("\n", 0, position) + 1))
        position = match.end()
    return found


class _Parser:
    def __init__(self, text):
        self.tokens, self.position = tokens(text), 0

    def peek(self, ahead=0):
        place = self.position + ahead
        return self.tokens[place][1] if place < len(self.tokens) else ""

    def take(self, *allowed, kind=None):
        if self.position >= len(self.tokens):
            raise OcaError("the rules end too early")
        found, text, line = self.tokens[self.position]
        if (allowed and text not in allowed) or (kind and found != kind):
            raise OcaError(f"line {line}: {text!r} where {' or '.join(allowed) or kind} must stand")
        self.position += 1
        return text

    def file(self):
        result = Rules()
        while self.position < len(self.tokens):
            word = self.take("if", "select", "action")
            if word == "if":
                result.rules.append(self.rule())
            elif word == "select":
                result.executes.append(self.execute())
            else:
                action = self.action()
                if action.name in result.actions:
                    raise OcaError(f"action {action.name} stands twice")
                result.actions[action.name] = action
        started = {execute.action for execute in result.executes}
        if started != set(result.actions):
            raise OcaError(f"actions and what starts them differ: {started ^ set(result.actions)}")
        return result

    def rule(self):
        condition = self.either()
        self.take("then")
        values = self.values(_CLASS_KEYS)
        return Rule(condition, values)

    def values(self, known):
        self.take("{")
        values = {}
        while self.peek() != "}":
            key = self.take(*known)
            self.take("=")
            values[key] = self.take(kind="text").strip('"')
            self.take(";")
        self.take("}")
        if not values:
            raise OcaError("an empty block")
        return values

    def execute(self):
        self.take("execute"), self.take("(")
        action = self.take(kind="word")
        self.take(")"), self.take("from")
        source = self.take("inputFiles", "calibFiles")
        self.take("where")
        condition = self.either()
        group, template = [], ()
        if self.peek() == "group":
            self.take("group"), self.take("by")
            group.append(self.take(kind="word"))
            while self.peek() == ",":
                self.take(",")
                group.append(self.take(kind="word"))
            if self.peek() == "as":
                self.take("as"), self.take("(")
                template = (self.take("TPL_A"), self.take(","), self.take("tpl"))
                self.take(")")
        self.take(";")
        return Execute(action, source, condition, tuple(group), template)

    def action(self):
        action = Action(self.take(kind="word"))
        self.take("{")
        while self.peek() == "minRet":
            action.selects.append(self.selected())
        self.take("recipe")
        action.recipe = self.take(kind="word")
        self.take(";")
        while self.peek() == "product":
            self.take("product")
            label = self.take(kind="word")
            if label in action.products:
                raise OcaError(f"{action.name}: product {label} stands twice")
            action.products[label] = self.values(_PRODUCT_KEYS)
        self.take("}")
        return action

    def selected(self):
        self.take("minRet"), self.take("=")
        minimum = int(self.take(kind="number"))
        self.take(";"), self.take("maxRet"), self.take("=")
        maximum = int(self.take(kind="number"))
        self.take(";"), self.take("select"), self.take("file"), self.take("as")
        label = self.take(kind="word")
        self.take("from")
        source = self.take("inputFiles", "calibFiles")
        self.take("where")
        condition = self.either()
        self.take(";")
        if not 0 <= minimum <= maximum or maximum < 1:
            raise OcaError(f"{label}: minRet = {minimum}, maxRet = {maximum}")
        return Select(label, source, condition, minimum, maximum)

    # -- expressions
    def either(self):
        parts = [self.both()]
        while self.peek() == "or":
            self.take("or")
            parts.append(self.both())
        return parts[0] if len(parts) == 1 else ("or", *parts)

    def both(self):
        parts = [self.clause()]
        while self.peek() == "and":
            self.take("and")
            parts.append(self.clause())
        return parts[0] if len(parts) == 1 else ("and", *parts)

    def clause(self):
        if self.peek() == "(" and not self.is_difference():
            self.take("(")
            inner = self.either()
            self.take(")")
            return inner
        left = self.operand()
        if self.peek() == "is":
            self.take("is"), self.take("undefined")
            return "undefined", left
        if self.peek() == "like":
            self.take("like")
            return "like", left, self.take(kind="text").strip('"')
        operator = self.take(*_COMPARISONS)
        return operator, left, self.operand()

    def is_difference(self):
        return self.peek(2) == "-" and self.peek(4) == ")"

    def operand(self):
        kind = self.tokens[self.position][0] if self.position < len(self.tokens) else ""
        if kind == "text":
            return "value", self.take().strip('"')
        if kind == "number":
            return "value", float(self.take())
        if self.peek() == "(":
            self.take("(")
            first = self.operand()
            self.take("-")
            second = self.operand()
            self.take(")")
            return "difference", first, second
        word = self.take(kind="word")
        return ("trigger", word.removeprefix("inputFile.")) if word.startswith("inputFile.") else ("key", word)


def parse(text):
    return _Parser(text).file()


# -- evaluation


def _value(operand, keywords, trigger):
    kind, *parts = operand
    if kind == "value":
        return parts[0]
    if kind == "difference":
        first, second = (_value(part, keywords, trigger) for part in parts)
        return None if first is None or second is None else float(first) - float(second)
    return (trigger if kind == "trigger" else keywords).get(parts[0])


def holds(condition, keywords, trigger=None):
    """Whether a condition holds; a comparison with what is not there does not."""
    operator, *parts = condition
    if operator == "and":
        return all(holds(part, keywords, trigger) for part in parts)
    if operator == "or":
        return any(holds(part, keywords, trigger) for part in parts)
    left = _value(parts[0], keywords, trigger)
    if operator == "undefined":
        return left is None
    if left is None:
        return False
    if operator == "like":
        pattern = ".*".join(re.escape(part) for part in parts[1].split("%"))
        return re.fullmatch(pattern, str(left)) is not None
    right = _value(parts[1], keywords, trigger)
    if right is None:
        return False
    if isinstance(left, str) != isinstance(right, str):
        left, right = str(left), str(right)
    return {
        "==": left == right, "!=": left != right, "<": left < right,
        ">": left > right, "<=": left <= right, ">=": left >= right,
    }[operator]  # fmt: skip
