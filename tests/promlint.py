"""A strict reader of the Prometheus text format, with the rules of `promtool check metrics`."""
import re

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
UNITS = {"s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"}
NOT_BASE = {"milliseconds", "microseconds", "nanoseconds", "minutes", "hours", "days", "kilobytes", "megabytes", "bits"}


class Family:
    def __init__(self, name, help_):
        self.name, self.help, self.type, self.samples = name, help_, None, {}


def _labels(text, line):
    """name="value",... -> dictionary; nothing may be left over."""
    out, at = {}, 0
    while at < len(text):
        m = LABEL.match(text, at)
        assert m, f"labels: {line}"
        assert m[1] not in out, f"a label twice: {line}"
        out[m[1]] = re.sub(r"\\(.)", lambda x: "\n" if x[1] == "n" else x[1], m[2])
        at = m.end()
        assert at == len(text) or text[at] == ",", f"labels: {line}"
        at += 1
    return out


def parse(text):
    """{name: Family}. Fails for what Prometheus would not read, or read otherwise than it was meant."""
    assert text.endswith("\n")
    families, current = {}, None
    for line in text.splitlines():
        if line.startswith("# HELP "):
            _, _, name, help_ = line.split(" ", 3)
            assert name not in families, f"a family twice: {name}"
            current = families[name] = Family(name, help_)
            continue
        if line.startswith("# TYPE "):
            _, _, name, type_ = line.split(" ")
            assert current and name == current.name and current.type is None, line
            assert type_ in ("counter", "gauge", "untyped"), line
            current.type = type_
            continue
        assert line and not line.startswith("#"), line
        name = NAME.match(line)[0]
        assert current and name == current.name and current.type, f"outside of its family: {line}"
        m = re.fullmatch(r"(?:\{(.*)\})? (\S+)", line[len(name):])
        assert m, line
        labels = _labels(m[1] or "", line)
        key = tuple(sorted(labels.items()))
        assert key not in current.samples, f"twice: {line}"
        current.samples[key] = float(m[2])
    return families


def problems(families):
    """What promtool would find wrong with names and types."""
    found = []
    for f in families.values():
        words = f.name.split("_")
        names = {k for key in f.samples for k, _ in key}
        found += [f"{f.name}: no help"] * (not f.help)
        found += [f"{f.name}: a counter's name ends in _total"] * (f.type == "counter" and words[-1] != "total")
        found += [f"{f.name}: only a counter's name ends in _total"] * (f.type == "gauge" and words[-1] == "total")
        if f.type != "untyped":
            found += [f"{f.name}: _{words[-1]} is for histograms"] * (words[-1] in ("count", "sum", "bucket"))
            found += [f"{f.name}: label {n}" for n in names & {"le", "quantile"}]
        found += [f"{f.name}: abbreviated unit"] * bool(UNITS & set(words))
        found += [f"{f.name}: not a base unit"] * bool(NOT_BASE & set(words))
        found += [f"{f.name}: its type in its name"] * bool({"gauge", "counter", "untyped"} & set(words))
        found += [f"{f.name}: colons"] * (":" in f.name)
        found += [f"{n}: camelCase" for n in (f.name, *names) if re.search("[a-z][A-Z]", n)]
        found += [f"{f.name}: negative" for v in f.samples.values() if f.type == "counter" and v < 0]
    return found
